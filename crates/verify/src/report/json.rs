use super::Report;

impl Report {
    /// The whole report as JSON, with a newline at its end. NaN appears as `null`, beside the failure
    /// that it caused.
    pub fn to_json(&self) -> String {
        // Structs of numbers, strings and lists with string keys always serialise.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}
