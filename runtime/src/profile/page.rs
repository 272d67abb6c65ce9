//! What Nsight Compute writes, read: `--csv --page raw`.
//!
//! ```text
//! ==PROF== Connected to process 4711                 lines of its own, anywhere
//! "ID","Process ID",…,"Kernel Name",…,"gpu__time_duration.sum"      names
//! "","",…,"",…,"ns"                                                 units
//! "0","4711",…,"_Z6kernelPf",…,"3,712"                              a launch a line, in order
//! ```

use super::ncu::DURATION;

/// The column that names kernels.
const KERNEL: &str = "Kernel Name";

/// One launch.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelRow {
    /// The kernel, as linked.
    pub kernel: String,
    /// How long it ran, in nanoseconds.
    pub duration_ns: f64,
}

/// Why a page does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// No line of names.
    #[error("Nsight Compute's page has no line with the columns `{KERNEL}` and `{DURATION}`")]
    NoHeader,
    /// A unit that is no time.
    #[error("Nsight Compute's durations are in `{unit}`: expected ns, us, ms or s")]
    Unit {
        /// The unit.
        unit: String,
    },
    /// A launch without a duration.
    #[error("line {line} of Nsight Compute's page: `{found}` is no duration")]
    Duration {
        /// The line, from 1.
        line: usize,
        /// What stands there.
        found: String,
    },
}

/// Reads every launch of a page; none where it profiled nothing.
pub fn read(page: &str) -> Result<Vec<KernelRow>, PageError> {
    let mut records = (1..).zip(page.lines()).filter(|(_, line)| line.starts_with('"'));
    let mut header = None;
    for (_, line) in records.by_ref() {
        let names = fields(line);
        let place = |name: &str| names.iter().position(|one| one == name);
        if let (Some(kernel), Some(duration)) = (place(KERNEL), place(DURATION)) {
            header = Some((kernel, duration));
            break;
        }
    }
    let Some((kernel, duration)) = header else { return Err(PageError::NoHeader) };
    let mut unit = None;
    let mut rows = Vec::new();
    for (line, text) in records {
        let mut fields = fields(text);
        let found = fields.get_mut(duration).map(std::mem::take).unwrap_or_default();
        let Some(factor) = unit else {
            unit = Some(nanoseconds_in(&found)?);
            continue;
        };
        // It writes thousands apart.
        let number =
            found.replace(',', "").parse::<f64>().ok().filter(|time| time.is_finite() && *time >= 0.0);
        let time = number.ok_or(PageError::Duration { line, found })?;
        let name = fields.get_mut(kernel).map(std::mem::take).unwrap_or_default();
        rows.push(KernelRow { kernel: name, duration_ns: time * factor });
    }
    Ok(rows)
}

/// What it and the profiled process said beside the page, without its notes on progress.
pub fn complaints(log: &str) -> Vec<&str> {
    let is_note =
        |line: &str| line.starts_with("==PROF==") || line.starts_with('"') || line.trim().is_empty();
    log.lines().filter(|line| !is_note(line)).collect()
}

fn nanoseconds_in(unit: &str) -> Result<f64, PageError> {
    match unit {
        "ns" | "nsecond" => Ok(1.0),
        "us" | "usecond" => Ok(1e3),
        "ms" | "msecond" => Ok(1e6),
        "s" | "second" => Ok(1e9),
        _ => Err(PageError::Unit { unit: unit.to_owned() }),
    }
}

/// The fields of a line of CSV: each in quotes, a quote in one doubled.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let field = fields.last_mut().expect("it begins with one and loses none");
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            letter => field.push(letter),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "==PROF== Connected to process 4711 (/usr/bin/proofmark)\n\
        ==PROF== Profiling \"proofmark_ab_mark\" - 0: 0%....50%....100% - 1 pass\n\
        \"ID\",\"Process ID\",\"Kernel Name\",\"Context\",\"gpu__time_duration.sum\"\n\
        \"\",\"\",\"\",\"\",\"ns\"\n\
        \"0\",\"4711\",\"proofmark_ab_mark\",\"1\",\"1,024\"\n\
        \"1\",\"4711\",\"_Z3addIfEvPT_S1_\",\"1\",\"3,712\"\n\
        ==PROF== Disconnected from process 4711\n";

    #[test]
    fn reads_names_units_and_numbers_with_thousands_apart() {
        let rows = read(PAGE).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1].kernel, "_Z3addIfEvPT_S1_");
        assert!((rows[1].duration_ns - 3712.0).abs() < 1e-9);
        let microseconds = PAGE.replace("\"ns\"", "\"usecond\"").replace("3,712", "3.71");
        assert!((read(&microseconds).unwrap()[1].duration_ns - 3710.0).abs() < 1e-6);
        let demangled = PAGE.replace("_Z3addIfEvPT_S1_", "add<float, \"\"x\"\">(T1 *, T1 *)");
        assert_eq!(read(&demangled).unwrap()[1].kernel, "add<float, \"x\">(T1 *, T1 *)");
    }

    #[test]
    fn what_is_no_page_is_an_error_and_never_a_panic() {
        for nothing in ["", "==ERROR== ERR_NVGPUCTRPERM\n", "\"ID\",\"Kernel Name\"\n", "\"\n\"\"\"\n,,"] {
            assert_eq!(read(nothing), Err(PageError::NoHeader), "{nothing:?}");
        }
        let cycles = PAGE.replace("\"ns\"", "\"cycle\"");
        assert_eq!(read(&cycles), Err(PageError::Unit { unit: "cycle".to_owned() }));
        let broken = PAGE.replace("3,712", "n/a");
        assert_eq!(read(&broken), Err(PageError::Duration { line: 6, found: "n/a".to_owned() }));
        let short = PAGE.replace(",\"1\",\"3,712\"", "");
        assert!(matches!(read(&short), Err(PageError::Duration { line: 6, .. })));
        let header_alone: String = PAGE.split_inclusive('\n').take(4).collect();
        assert_eq!(read(&header_alone), Ok(Vec::new()));
    }

    #[test]
    fn tells_complaints_from_notes() {
        let log = "==PROF== Connected\nerror: no GPU\n==ERROR== it failed\n\n";
        assert_eq!(complaints(log), ["error: no GPU", "==ERROR== it failed"]);
    }
}
