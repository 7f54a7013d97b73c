//! Readers of the outputs of `mert-embed` that share no code with the table crate: they show that other programs, with
//! libraries of their own for each format, find the rows that were written.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, UInt32Type};
use npyz::npz::NpzArchive;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::embeddings::Rows;

/// Reads an output in the format of its extension.
pub(crate) fn read(path: &Path) -> Rows {
    match path.extension().unwrap().to_str().unwrap() {
        "npz" => read_npz(path),
        "npy" => read_npy(path),
        "jsonl" => read_lines(path),
        "safetensors" => read_safetensors(path),
        _ => read_parquet(path),
    }
}

fn read_npz(path: &Path) -> Rows {
    let mut npz = NpzArchive::open(path).unwrap();
    let names: Vec<String> = npz.array_names().map(str::to_string).collect();
    let mut integers = |name: &str| npz.by_name(name).unwrap().unwrap().into_vec::<i64>().unwrap();
    let (file, window, layers) = (integers("file"), integers("window"), integers("hidden_states"));
    let frame = names.iter().any(|name| name == "frame").then(|| integers("frame"));
    let mut floats = |name: &str| npz.by_name(name).unwrap().unwrap().into_vec::<f64>().unwrap();
    let times = floats("start").into_iter().zip(floats("end")).collect();
    let mut strings = |name: &str| npz.by_name(name).unwrap().unwrap().into_vec::<String>().unwrap();
    let (files, model) = (strings("files"), strings("model_sha256").remove(0));
    let array = npz.by_name("embeddings").unwrap().unwrap();
    let row = array.shape()[1..].iter().product::<u64>() as usize;
    let values = array.into_vec::<f32>().unwrap().chunks(row).map(<[f32]>::to_vec).collect();
    let key = |i: usize| {
        let frame = frame.as_ref().map(|frame| frame[i] as u64);
        (files[file[i] as usize].clone(), window[i] as u64, frame)
    };
    let layers = layers.iter().map(|&layer| layer as usize).collect();
    Rows { keys: (0..file.len()).map(key).collect(), times, values, layers, model }
}

fn read_npy(path: &Path) -> Rows {
    let array = npyz::NpyFile::new(fs::File::open(path).unwrap()).unwrap();
    let row = array.shape()[1..].iter().product::<u64>() as usize;
    let values = array.into_vec::<f32>().unwrap().chunks(row).map(<[f32]>::to_vec).collect();
    Rows { values, ..read_lines(&path.with_extension("rows.jsonl")) }
}

fn read_lines(path: &Path) -> Rows {
    let mut rows = Rows::default();
    for line in fs::read_to_string(path).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let number = |key: &str| line.get(key).and_then(Value::as_f64);
        let frame = number("frame").map(|frame| frame as u64);
        rows.keys.push((line["file"].as_str().unwrap().to_string(), number("window").unwrap() as u64, frame));
        rows.times.push((number("start").unwrap(), number("end").unwrap()));
        rows.model = line["model_sha256"].as_str().unwrap().to_string();
        if let Some(states) = line.get("hidden_states").and_then(Value::as_object) {
            let states: BTreeMap<usize, Vec<f32>> = states
                .iter()
                .map(|(layer, values)| (layer.parse().unwrap(), serde_json::from_value(values.clone()).unwrap()))
                .collect();
            rows.layers = states.keys().copied().collect();
            rows.values.push(states.into_values().flatten().collect());
        }
    }
    rows
}

fn read_safetensors(path: &Path) -> Rows {
    let bytes = fs::read(path).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().clone().unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |name: &str| tensors.tensor(name).ok();
    let eight = |name: &str| -> Option<Vec<[u8; 8]>> { Some(tensor(name)?.data().as_chunks().0.to_vec()) };
    let integers = |name: &str| Some(eight(name)?.into_iter().map(i64::from_le_bytes).collect::<Vec<_>>());
    let floats = |name: &str| eight(name).unwrap().into_iter().map(f64::from_le_bytes).collect::<Vec<_>>();
    let files: Vec<String> = serde_json::from_str(&metadata["files"]).unwrap();
    let embeddings = tensor("embeddings").unwrap();
    let row: usize = embeddings.shape()[1..].iter().product();
    let values: Vec<f32> = embeddings.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let (file, window, frame) = (integers("file").unwrap(), integers("window").unwrap(), integers("frame"));
    let key =
        |i: usize| (files[file[i] as usize].clone(), window[i] as u64, frame.as_ref().map(|frame| frame[i] as u64));
    Rows {
        keys: (0..file.len()).map(key).collect(),
        times: floats("start").into_iter().zip(floats("end")).collect(),
        values: values.chunks(row).map(<[f32]>::to_vec).collect(),
        layers: serde_json::from_str(&metadata["hidden_states"]).unwrap(),
        model: metadata["model_sha256"].clone(),
    }
}

fn read_parquet(path: &Path) -> Rows {
    let builder = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
    let names: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let states: Vec<&String> = names.iter().filter(|name| name.starts_with("hidden_state_")).collect();
    let number = |name: &&String| name.trim_start_matches("hidden_state_").parse().unwrap();
    let mut rows = Rows { layers: states.iter().map(number).collect(), ..Rows::default() };
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap();
        let column = |name: &str| batch.column_by_name(name).unwrap();
        let text = |name: &str, i: usize| column(name).as_string::<i32>().value(i).to_string();
        let integer = |name: &str, i: usize| u64::from(column(name).as_primitive::<UInt32Type>().value(i));
        let time = |name: &str, i: usize| column(name).as_primitive::<Float64Type>().value(i);
        for i in 0..batch.num_rows() {
            let frame = names.iter().any(|name| name == "frame").then(|| integer("frame", i));
            rows.keys.push((text("file", i), integer("window", i), frame));
            rows.times.push((time("start", i), time("end", i)));
            rows.model = text("model_sha256", i);
            let vector = |name: &&String| {
                column(name).as_fixed_size_list().value(i).as_primitive::<Float32Type>().values().to_vec()
            };
            rows.values.push(states.iter().flat_map(vector).collect());
        }
    }
    rows
}
