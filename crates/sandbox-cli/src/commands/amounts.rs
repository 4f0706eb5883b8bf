//! Amounts for people: three digits and a unit.

/// Returns a time that is given in milliseconds.
pub(crate) fn time(milliseconds: f64) -> String {
    scaled(
        milliseconds,
        &[(1.0, "ms"), (1e3, "s"), (6e4, "min"), (3.6e6, "h")],
    )
}

/// Returns an amount of bytes, in binary units.
#[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
pub(crate) fn bytes(bytes: u64) -> String {
    about_bytes(bytes as f64)
}

/// As [`bytes`], of an average.
pub(crate) fn about_bytes(bytes: f64) -> String {
    const KIB: f64 = 1024.0;
    let units = [
        (1.0, "B"),
        (KIB, "KiB"),
        (KIB * KIB, "MiB"),
        (KIB * KIB * KIB, "GiB"),
    ];
    scaled(bytes, &units)
}

fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    let fitting = units.iter().rev().find(|(unit, _)| value >= *unit);
    let (unit, name) = fitting.or(units.first()).copied().unwrap_or((1.0, ""));
    let shown = value / unit;
    let is_whole = shown.fract() == 0.0;
    if shown >= 100.0 || is_whole {
        format!("{shown:.0} {name}")
    } else if shown >= 10.0 {
        format!("{shown:.1} {name}")
    } else {
        format!("{shown:.2} {name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_three_digits_and_a_unit() {
        let times = [0.0, 0.25, 12.34, 1500.0, 90_000.0, 7.2e6].map(time);
        assert_eq!(
            times,
            ["0 ms", "0.25 ms", "12.3 ms", "1.50 s", "1.50 min", "2 h"]
        );
        let sizes = [0, 512, 1536, 10 << 20, 3 << 40].map(bytes);
        assert_eq!(sizes, ["0 B", "512 B", "1.50 KiB", "10 MiB", "3072 GiB"]);
    }
}
