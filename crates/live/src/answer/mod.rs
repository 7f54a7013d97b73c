//! Answers: which event of the memory follows what was just heard.

mod settings;

pub use self::settings::AnswerMode;
