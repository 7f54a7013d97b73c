//! Choices that were made by measurement as text.

use comfy_table::{Table, presets};
use mert_arch::ComputeType;
use mert_budget::{BudgetReport, Goal, Int8Report};
use mert_cli::terminal::counted;

/// The choice as text: a row for each layer, what was predicted and what was measured.
pub(super) fn describe_bits(report: &BudgetReport) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["layer", "bits", "group", "share of the error", "bytes"]);
    for layer in &report.layers {
        let bits = layer.bits.map_or(report.dtype.to_string(), |bits| bits.to_string());
        let group_size = layer.group_size.map_or(String::new(), |size| size.to_string());
        let share = format!("{:.1} %", 100.0 * layer.share);
        table.add_row([layer.module.clone(), bits, group_size, share, layer.bytes.to_string()]);
    }
    table.add_row(["everything else", report.dtype.name(), "", &format!("{:.1} %", 100.0 * report.float_share), ""]);
    let audio = &report.audio;
    let mut text = format!("{table}\n\nbudget       {}\n", report.goal);
    text += &format!("calibration  {}\n", audio.calibration.join(", "));
    text += &format!("held out     {}\n", audio.held_out.join(", "));
    for file in &audio.left_out {
        text += &format!("left out     {file}\n");
    }
    text += &format!("predicted    {}, on calibration clips\n", report.predicted);
    text += &format!("measured     {}, on calibration clips\n", report.calibration);
    text += &format!("             {}, on held-out clips, in {} mixes\n", report.held_out, report.trials.len());
    text += &format!("float        {}, on held-out clips, with every layer in {}\n", report.float, report.dtype);
    let tightest = &report.tightest;
    let (criterion, state, used) = (tightest.criterion, tightest.hidden_state, 100.0 * tightest.used);
    text += &match report.goal {
        Goal::Error(_) => format!("tightest     {criterion} of hidden state {state}, {used:.1} % of the limit\n"),
        Goal::Size(_) => format!("tightest     {criterion} of hidden state {state}\n"),
    };
    text + &format!("size         {}\n", counted(report.bytes, "byte"))
}

/// The choice as text: a row for each module that keeps floats, what was predicted and what was measured.
pub(super) fn describe_int8(report: &Int8Report) -> String {
    let floats: Vec<_> = report.modules.iter().filter(|module| module.compute != ComputeType::Int8).collect();
    let mut text = String::new();
    if !floats.is_empty() {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["keeps floats", "type", "multiply-adds", "share of the error"]);
        for module in &floats {
            let [multiply_adds, share] =
                [module.multiply_adds, module.share].map(|part| format!("{:.1} %", 100.0 * part));
            table.add_row([module.module.clone(), module.compute.to_string(), multiply_adds, share]);
        }
        text += &format!("{table}\n\n");
    }
    let (count, all) = (report.modules.len() - floats.len(), report.modules.len());
    text += &format!(
        "int8         {count} of {all} modules, {:.1} % of the multiply-adds with weights\n",
        100.0 * report.int8_multiply_adds
    );
    text += &format!("int8 budget  {}\n", report.budget);
    text += &format!("instructions {}; others may lead to another choice\n", report.instructions);
    text += &format!("calibration  {}\n", report.audio.calibration.join(", "));
    text += &format!("held out     {}\n", report.audio.held_out.join(", "));
    for file in &report.audio.left_out {
        text += &format!("left out     {file}\n");
    }
    text += &format!("predicted    {}, on calibration clips\n", report.predicted);
    text += &format!("measured     {}, on held-out clips, in {} choices\n", report.held_out, report.trials);
    text += &format!("all in int8  {}, on held-out clips\n", report.all_int8);
    text += &format!("all in f32   {}, on held-out clips, with attention in bf16\n", report.float);
    let tightest = &report.tightest;
    let (criterion, state, used) = (tightest.criterion, tightest.hidden_state, 100.0 * tightest.used);
    text + &format!("tightest     {criterion} of hidden state {state}, {used:.1} % of the limit\n\n")
}
