//! One look of `sandbox top` as text.

use rustix::termios::Winsize;
use sandbox_core::{LiveLook, LiveOperation};

use crate::{
    commands::{amounts, describe},
    ui::{Tone, Ui, one_line},
};

/// The width and height where there is no terminal to measure.
const WIDTH: usize = 120;
/// What stands above the operations: the summary, a line without text, the headings.
const LINES_ABOVE: usize = 3;
/// The widest name of a sandbox that is shown.
const NAME_WIDTH: usize = 20;
/// The narrowest command that is worth showing.
const COMMAND_WIDTH_MIN: usize = 10;

/// Returns the look, as much of it as fits on a terminal of this size.
pub(crate) fn text(look: &LiveLook, size: Option<Winsize>, ui: Ui) -> String {
    let size = size.filter(|size| size.ws_row > 0 && size.ws_col > 0);
    let width = size.map_or(WIDTH, |size| usize::from(size.ws_col));
    let mut lines = vec![one_line(&summary(look), width), String::new()];
    if look.operations.is_empty() {
        lines.push(one_line("nothing runs", width));
    } else {
        let names = look.operations.iter().map(|it| it.sandbox.as_str().len());
        let name_width = names.max().unwrap_or(0).clamp("SANDBOX".len(), NAME_WIDTH);
        let row = |cells: [&str; 7]| row(cells, name_width, width);
        let headings = row([
            "SANDBOX",
            "OPERATION",
            "TIME",
            "CPU %",
            "MEMORY",
            "TASKS",
            "COMMAND",
        ]);
        lines.push(ui.tone(Tone::Strong, &headings));
        let room = size.map_or(usize::MAX, |size| {
            usize::from(size.ws_row).saturating_sub(LINES_ABOVE + 1)
        });
        for operation in look.operations.iter().take(room) {
            let cells = cells(operation, look);
            lines.push(row(cells.each_ref().map(String::as_str)));
        }
        let hidden = look.operations.len().saturating_sub(room);
        if hidden > 0 {
            let more = one_line(&format!("… and {hidden} more"), width);
            lines.push(ui.tone(Tone::Faint, &more));
        }
    }
    if let Some(size) = size {
        // A line too many, or a line end in the last line, would scroll the first one away.
        lines.truncate(usize::from(size.ws_row));
        return lines.join("\n");
    }
    lines.join("\n") + "\n"
}

fn summary(look: &LiveLook) -> String {
    let cpu = look.operations.iter().filter_map(|it| it.cpu_percent);
    // The sum of nothing is -0.0 (`f64::sum`), and would be shown with its sign.
    let cpu = cpu.fold(0.0, |sum, percent| sum + percent);
    let memory: u64 = look
        .operations
        .iter()
        .filter_map(|it| Some(it.usage?.memory_bytes))
        .sum();
    let mut text = format!(
        "sandbox {}  {}, {}  cpu {cpu:.1} %  memory {}",
        describe::time(&look.at),
        describe::counted(look.sandboxes as u64, "sandbox"),
        describe::counted(look.operations.len() as u64, "operation"),
        amounts::bytes(memory),
    );
    if !look.unreadable.is_empty() {
        let names: Vec<_> = look.unreadable.iter().map(ToString::to_string).collect();
        let unreadable = format!("  cannot be read: {}", names.join(", "));
        text.push_str(&unreadable);
    }
    text
}

fn cells(operation: &LiveOperation, look: &LiveLook) -> [String; 7] {
    let none = || "-".to_owned();
    let usage = operation.usage;
    let running = look.at.duration_since(operation.operation.since);
    [
        operation.sandbox.to_string(),
        describe::short(&operation.operation.id).to_owned(),
        running_time(running.as_secs().max(0)),
        operation
            .cpu_percent
            .map_or_else(none, |percent| format!("{percent:.1}")),
        usage.map_or_else(none, |usage| amounts::bytes(usage.memory_bytes)),
        usage.map_or_else(none, |usage| usage.tasks.to_string()),
        describe::command(&operation.operation.argv, WIDTH),
    ]
}

/// Returns how long something has run: as ps(1) shows it, with days where there are some.
fn running_time(seconds: i64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (hours, minutes, seconds) = (rest / 3600, rest / 60 % 60, rest % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}:{seconds:02}"),
        (0, _) => format!("{hours}:{minutes:02}:{seconds:02}"),
        _ => format!("{days}-{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

fn row(
    [sandbox, id, time, cpu, memory, tasks, command]: [&str; 7],
    name_width: usize,
    width: usize,
) -> String {
    let sandbox = one_line(sandbox, NAME_WIDTH);
    let id = one_line(id, 10);
    let left =
        format!("{sandbox:<name_width$}  {id:<10}  {time:>9}  {cpu:>6}  {memory:>9}  {tasks:>5}  ");
    let room = width.saturating_sub(left.chars().count());
    let command = one_line(command, room.max(COMMAND_WIDTH_MIN));
    // A terminal too narrow for all of it must not wrap.
    (left + &command).chars().take(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::{Colour, Form, Words};

    #[test]
    fn times_are_shown_as_by_ps() {
        let times = [0, 61, 3600 + 125, 2 * 86_400 + 5].map(running_time);
        assert_eq!(times, ["0:00", "1:01", "1:02:05", "2-00:00:05"]);
    }

    #[test]
    fn a_small_terminal_gets_what_fits() {
        let look = LiveLook {
            at: jiff::Timestamp::UNIX_EPOCH,
            sandboxes: 1,
            unreadable: Vec::new(),
            operations: Vec::new(),
        };
        let ui = Ui {
            form: Form::Text,
            words: Words::None,
            colour: Colour::Never,
        };
        assert!(summary(&look).contains("cpu 0.0 %"));
        for (ws_row, ws_col) in [(1, 1), (2, 80), (24, 5)] {
            let size = Winsize {
                ws_row,
                ws_col,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            let text = text(&look, Some(size), ui);
            assert!(text.lines().count() <= usize::from(ws_row));
            let fits = |line: &str| line.chars().count() <= usize::from(ws_col);
            assert!(text.lines().all(fits), "{text:?}");
        }
    }

    #[test]
    fn a_row_never_is_wider_than_the_terminal() {
        let cells = [
            "box",
            "0123abcd",
            "0:01",
            "12.0",
            "3 MiB",
            "2",
            "sleep 100000000000000",
        ];
        for width in [1, 40, 70, 200] {
            assert!(row(cells, 7, width).chars().count() <= width, "{width}");
        }
        assert!(row(cells, 7, 200).ends_with("sleep 100000000000000"));
        assert!(row(cells, 7, 70).ends_with('…'));
    }
}
