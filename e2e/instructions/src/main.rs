//! `instructions list` names the cases, `instructions CASE N` does one of them N times.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [list] if list == "list" => {
            for case in instructions::cases() {
                println!("{}\t{}\t{}", case.name, case.unit, case.units);
            }
            ExitCode::SUCCESS
        }
        [name, times] => {
            let case = instructions::cases()
                .into_iter()
                .find(|case| case.name == name);
            match (case, times.parse::<u32>()) {
                (Some(case), Ok(times)) => {
                    let mut work = (case.prepare)();
                    for _ in 0..times {
                        work();
                    }
                    ExitCode::SUCCESS
                }
                (None, _) => usage(&format!(
                    "no case is named {name:?}; see `instructions list`"
                )),
                (_, Err(_)) => usage(&format!("{times:?} is not a number of repetitions")),
            }
        }
        _ => usage("expected `list`, or a case and a number of repetitions"),
    }
}

fn usage(what: &str) -> ExitCode {
    eprintln!("instructions: {what}");
    ExitCode::from(2)
}
