//! Figures as text for Prometheus: the exposition format 0.0.4.
//!
//! The format is that of <https://prometheus.io/docs/instrumenting/exposition_formats/>; the names
//! follow <https://prometheus.io/docs/practices/naming/>: base units, `_total` for counters.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;

/// How a figure behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One figure, and whose it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricSample {
    /// Whose, by label name.
    pub labels: BTreeMap<&'static str, String>,
    /// The figure.
    pub value: f64,
}

/// All figures of one name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricFamily {
    /// The name.
    pub name: &'static str,
    /// How they behave.
    pub kind: MetricKind,
    /// What they mean, in one line.
    pub help: &'static str,
    /// Each once for its labels.
    pub samples: Vec<MetricSample>,
}

/// Figures that are being collected: each name once, each set of labels once.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    families: Vec<MetricFamily>,
}

/// What a figure is called.
#[derive(Clone, Copy, Debug)]
pub struct MetricName {
    /// The name.
    pub name: &'static str,
    /// How it behaves.
    pub kind: MetricKind,
    /// What it means.
    pub help: &'static str,
}

impl Metrics {
    /// Returns an empty collection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a figure; another one of the same name and labels is replaced.
    ///
    /// # Panics
    ///
    /// Panics when the name or a label name is not one that Prometheus reads: they are in the code.
    pub fn add<const N: usize>(
        &mut self,
        metric: MetricName,
        labels: [(&'static str, &str); N],
        value: f64,
    ) {
        assert!(is_name(metric.name, true), "{} is no name", metric.name);
        let labels: BTreeMap<_, _> = labels
            .into_iter()
            .inspect(|(name, _)| assert!(is_name(name, false), "{name} is no label"))
            .map(|(name, value)| (name, value.to_owned()))
            .collect();
        let known = self.families.iter().position(|it| it.name == metric.name);
        let at = known.unwrap_or_else(|| {
            self.families.push(MetricFamily {
                name: metric.name,
                kind: metric.kind,
                help: metric.help,
                samples: Vec::new(),
            });
            self.families.len() - 1
        });
        let samples = &mut self.families[at].samples;
        match samples.iter_mut().find(|sample| sample.labels == labels) {
            Some(sample) => sample.value = value,
            None => samples.push(MetricSample { labels, value }),
        }
    }

    /// Returns everything, in the order of its first appearance.
    pub fn families(&self) -> &[MetricFamily] {
        &self.families
    }

    /// Returns everything as text.
    pub fn to_prometheus_text(&self) -> String {
        let mut text = String::new();
        for family in &self.families {
            // Writing to a string cannot fail.
            let _written = write_family(&mut text, family);
        }
        text
    }
}

fn write_family(text: &mut String, family: &MetricFamily) -> std::fmt::Result {
    let kind = match family.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
    };
    let name = family.name;
    let help = family.help.replace('\\', r"\\").replace('\n', r"\n");
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
    for sample in &family.samples {
        text.push_str(name);
        let mut before = '{';
        for (label, value) in &sample.labels {
            write!(text, "{before}{label}=\"{}\"", escaped(value))?;
            before = ',';
        }
        if !sample.labels.is_empty() {
            text.push('}');
        }
        writeln!(text, " {}", number(sample.value))?;
    }
    Ok(())
}

/// Returns a label as Prometheus reads it. Its text may be a name that somebody else chose, and a person may read it on
/// a terminal: of control characters, it has the code.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => text.push_str(r"\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str(r"\n"),
            c if c.is_control() => {
                text.push('\\');
                text.extend(c.escape_default());
            }
            c => text.push(c),
        }
    }
    text
}

fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    // What is no number is `NaN` in both.
    value.to_string()
}

/// Whether `text` names a metric, or without colons a label.
fn is_name(text: &str, with_colons: bool) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || (with_colons && c == ':');
    !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: MetricName = MetricName {
        name: "sandbox_operations_total",
        kind: MetricKind::Counter,
        help: "Operations that ended.",
    };
    const UP: MetricName = MetricName {
        name: "sandbox_up",
        kind: MetricKind::Gauge,
        help: "One\nline with \\.",
    };

    #[test]
    fn the_text_is_as_prometheus_reads_it() {
        let mut metrics = Metrics::new();
        metrics.add(COUNT, [("sandbox", "a"), ("outcome", "failed")], 2.0);
        metrics.add(UP, [], f64::INFINITY);
        metrics.add(
            COUNT,
            [("sandbox", "b\"\\\nc\x1b"), ("outcome", "failed")],
            1e21,
        );
        metrics.add(UP, [], 0.25);
        assert_eq!(
            metrics.to_prometheus_text(),
            "# HELP sandbox_operations_total Operations that ended.\n\
             # TYPE sandbox_operations_total counter\n\
             sandbox_operations_total{outcome=\"failed\",sandbox=\"a\"} 2\n\
             sandbox_operations_total{outcome=\"failed\",sandbox=\"b\\\"\\\\\\nc\\\\u{1b}\"} 1000000000000000000000\n\
             # HELP sandbox_up One\\nline with \\\\.\n\
             # TYPE sandbox_up gauge\n\
             sandbox_up 0.25\n"
        );
    }

    #[test]
    fn numbers_that_are_none_are_written_as_prometheus_does() {
        assert_eq!(number(f64::NAN), "NaN");
        assert_eq!(number(f64::NEG_INFINITY), "-Inf");
        assert_eq!(number(f64::INFINITY), "+Inf");
    }
}
