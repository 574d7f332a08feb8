//! Shows what `lab up` is doing: a moving line on a terminal, plain lines otherwise, or nothing.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Where progress goes.
enum Output {
    Terminal,
    Lines,
    Silent,
}

/// Steps of a command, each shown once it is done, with the time it took.
pub struct Progress {
    output: Output,
    start: Instant,
    step: Option<(Instant, String, ProgressBar)>,
}

impl Progress {
    /// Progress on standard error: moving on a terminal, plain lines elsewhere.
    #[must_use]
    pub fn visible() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self::new(if terminal {
            Output::Terminal
        } else {
            Output::Lines
        })
    }

    /// Progress that nobody sees.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(Output::Silent)
    }

    fn new(output: Output) -> Self {
        Self {
            output,
            start: Instant::now(),
            step: None,
        }
    }

    /// Begins a step.
    pub fn begin(&mut self, step: &str) {
        let bar = match self.output {
            Output::Terminal => ProgressBar::new_spinner(),
            Output::Lines | Output::Silent => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(step.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        self.step = Some((Instant::now(), step.to_owned(), bar));
    }

    /// Says how far the step is.
    pub fn update(&self, so_far: &str) {
        if let Some((_, step, bar)) = &self.step {
            bar.set_message(format!("{step} {so_far}"));
        }
    }

    /// Ends the step with its result.
    pub fn done(&mut self, result: &str) {
        let Some((start, step, bar)) = self.step.take() else {
            return;
        };
        bar.finish_and_clear();
        let seconds = start.elapsed().as_secs_f64();
        self.line(&format!("ok    {step} {result} ({seconds:.1} s)"));
    }

    /// Ends the step as failed; the error itself is shown by the caller.
    pub fn failed(&mut self) {
        if let Some((_, step, bar)) = self.step.take() {
            bar.finish_and_clear();
            self.line(&format!("fail  {step}"));
        }
    }

    /// Shows a line that is no step.
    pub fn line(&self, text: &str) {
        if !matches!(self.output, Output::Silent) {
            // Nobody reads progress of a closed terminal.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// Time since the first step.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}
