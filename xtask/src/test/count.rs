//! How many tests passed, as the programs that run them tell it.

/// Tests that passed and that did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) passed: u32,
    pub(super) failed: u32,
}

impl Count {
    pub(super) fn passed() -> Self {
        Self {
            passed: 1,
            failed: 0,
        }
    }

    pub(super) fn failed() -> Self {
        Self {
            passed: 0,
            failed: 1,
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// The count of a program that ended so. One that fails without a failed test counts as one:
    /// it did not get as far as its tests.
    pub(super) fn or_fail(self, succeeded: bool) -> Self {
        match (succeeded, self.failed) {
            (false, 0) => Self { failed: 1, ..self },
            _ => self,
        }
    }

    /// Reads nextest's `Summary [1.0s] 9 tests run: 7 passed (1 slow), 2 failed, 0 skipped`.
    pub(super) fn of_nextest(line: &str) -> Self {
        let line = plain(line);
        let Some((_, told)) = line
            .split_once("tests run: ")
            .or_else(|| line.split_once("test run: "))
        else {
            return Self::default();
        };
        Self {
            passed: before(told, " passed"),
            // What hangs and what dies on the way has not passed either.
            failed: before(told, " failed")
                + before(told, " timed out")
                + before(told, " exec failed"),
        }
    }

    /// Reads libtest's `test result: ok. 7 passed; 2 failed; 0 ignored; …`.
    pub(super) fn of_libtest(line: &str) -> Self {
        match plain(line).strip_prefix("test result: ") {
            Some(told) => Self {
                passed: before(told, " passed"),
                failed: before(told, " failed"),
            },
            None => Self::default(),
        }
    }

    /// Reads TAP's `# pass 7` and `# fail 2`, as Node ends with.
    pub(super) fn of_tap(line: &str) -> Self {
        let number = |name| {
            let told = line.strip_prefix(name)?;
            told.trim().parse().ok()
        };
        Self {
            passed: number("# pass ").unwrap_or(0),
            failed: number("# fail ").unwrap_or(0) + number("# cancelled ").unwrap_or(0),
        }
    }
}

/// The number right before some words.
fn before(text: &str, words: &str) -> u32 {
    let Some(at) = text.find(words) else {
        return 0;
    };
    let digits = text[..at]
        .rsplit(|it: char| !it.is_ascii_digit())
        .next()
        .unwrap_or_default();
    digits.parse().unwrap_or(0)
}

/// A line without its colours.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            characters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_runner_is_understood() {
        let count = |passed, failed| Count { passed, failed };
        for (line, wanted) in [
            (
                "     Summary [   1.340s] 13/27 tests run: 11 passed (2 slow), 2 failed, 0 skipped",
                count(11, 2),
            ),
            (
                "\u{1b}[32;1m     Summary\u{1b}[0m [   0.080s] \u{1b}[1m23\u{1b}[0m tests run: \u{1b}[1m23\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, \u{1b}[1m0\u{1b}[0m skipped",
                count(23, 0),
            ),
            (
                "     Summary [   9.1s] 1 test run: 0 passed, 1 timed out, 4 skipped",
                count(0, 1),
            ),
            (
                "        PASS [   0.006s] logic::pacer 7 passed",
                count(0, 0),
            ),
        ] {
            assert_eq!(Count::of_nextest(line), wanted, "{line}");
        }
        assert_eq!(
            Count::of_libtest("test result: FAILED. 8 passed; 3 failed; 1 ignored; 0 measured"),
            count(8, 3)
        );
        assert_eq!(Count::of_libtest("test a ... ok"), count(0, 0));
        assert_eq!(Count::of_tap("# pass 12"), count(12, 0));
        assert_eq!(Count::of_tap("# fail 2"), count(0, 2));
        assert_eq!(Count::of_tap("ok 1 - # pass 3"), count(0, 0));
    }

    #[test]
    fn a_program_that_fails_counts_for_one_at_least() {
        assert_eq!(Count::default().or_fail(false), Count::failed());
        assert_eq!(Count::failed().or_fail(false), Count::failed());
        assert_eq!(Count::passed().or_fail(true), Count::passed());
    }
}
