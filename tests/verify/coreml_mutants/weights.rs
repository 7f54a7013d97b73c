//! Mutants of the file of weights: values, records, header.

use super::edit::Fails::{Gate, With};
use super::edit::{Mutant, Q_WEIGHT, weight_names};

pub(super) const WEIGHTS: &[Mutant] = &[
    ("a weight's sign flipped", Gate, |p| {
        let data = p.data(Q_WEIGHT);
        let largest = data.clone().step_by(2).max_by_key(|&at| p.weights[at + 1] & 0x7f).unwrap();
        p.weights[largest + 1] ^= 0x80;
    }),
    ("the last bit of every tenth weight of one matrix", Gate, |p| {
        p.data(Q_WEIGHT).step_by(20).for_each(|at| p.weights[at] ^= 1);
    }),
    ("a matrix transposed", Gate, |p| {
        let data = p.data(Q_WEIGHT);
        let old = p.weights[data.clone()].to_vec();
        for (i, half) in p.weights[data].as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let from = (i % 64 * 64 + i / 64) * 2;
            half.copy_from_slice(&old[from..from + 2]);
        }
    }),
    ("two weights exchanged", Gate, |p| {
        let (q, k) = (p.record(Q_WEIGHT), p.record("encoder_layers_5_attention_k_proj_weight"));
        p.set_record(Q_WEIGHT, k);
        p.set_record("encoder_layers_5_attention_k_proj_weight", q);
    }),
    ("a NaN weight", Gate, |p| {
        let data = p.data(Q_WEIGHT);
        p.weights[data.start..data.start + 2].copy_from_slice(&[0x00, 0x7e]);
    }),
    ("everything zero", Gate, |p| {
        let names: Vec<String> = weight_names(p);
        for name in names {
            let data = p.data(&name);
            p.weights[data].fill(0);
        }
    }),
    ("an offset after the record", With("there is no record"), |p| {
        let record = p.record(Q_WEIGHT);
        p.set_record(Q_WEIGHT, record + 64);
    }),
    ("an offset between records", With("multiple of 64"), |p| {
        let record = p.record(Q_WEIGHT);
        p.set_record(Q_WEIGHT, record + 2);
    }),
    ("an offset beyond the file", With("beyond the file"), |p| p.set_record(Q_WEIGHT, 1 << 40)),
    ("one blob for two weights", With("the program uses"), |p| {
        let k = p.record("encoder_layers_5_attention_k_proj_weight");
        p.set_record(Q_WEIGHT, k);
    }),
    ("a record of another size", With("holds 4096 bytes"), |p| {
        let record = p.record(Q_WEIGHT);
        p.weights[record + 8..record + 16].copy_from_slice(&4096u64.to_le_bytes());
    }),
    ("a record of another type", With("holds element type 2"), |p| {
        let record = p.record(Q_WEIGHT);
        p.weights[record + 4] = 2;
    }),
    ("a record that points elsewhere", With("expected directly after the record"), |p| {
        let record = p.record(Q_WEIGHT);
        p.weights[record + 16..record + 24].copy_from_slice(&128u64.to_le_bytes());
    }),
    ("blobs that overlap", With("overlap"), |p| {
        // A record made of the first weights of the one before.
        let (victim, bytes) = (p.data("encoder_layers_5_attention_v_proj_weight"), p.data(Q_WEIGHT).len());
        let record = p.record(Q_WEIGHT);
        let mut forged = p.weights[record..record + 64].to_vec();
        forged[16..24].copy_from_slice(&(victim.start as u64 + 64).to_le_bytes());
        assert!(victim.len() >= bytes);
        p.weights[victim.start..victim.start + 64].copy_from_slice(&forged);
        p.set_record(Q_WEIGHT, victim.start);
    }),
    ("reserved fields of a record", With("reserved fields"), |p| {
        let record = p.record(Q_WEIGHT);
        p.weights[record + 40] = 1;
    }),
    ("reserved fields of the header", With("reserved fields"), |p| p.weights[60] = 1),
    ("a count that is wrong", With("weight.bin counts 208"), |p| p.weights[0] = 208),
    ("another version of the file", With("version 1, expected 2"), |p| p.weights[4] = 1),
    ("a truncated file", With("truncated"), |p| p.weights.truncate(p.weights.len() - 100)),
    ("an empty file", With("truncated"), |p| p.weights.clear()),
    ("something appended", With("its blobs end at"), |p| p.weights.extend([0; 64])),
    ("a file of another name", With("expected `@model_path/weights/weight.bin`"), |p| {
        p.edit_value(Q_WEIGHT, |value| value.edit(5, |blob| blob.set_text(1, "@model_path/weights/other.bin")));
    }),
];
