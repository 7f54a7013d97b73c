//! Training configurations: the expression that lists the convolutions. Configurations as pickles are in `checkpoint.rs`.

use mert_arch::fairseq::{ConvLayer, parse_conv_feature_layers};
use mert_testkit::fuzz::{Seed, Target};

use super::bounded;

const EXPRESSIONS: [&str; 5] = [
    "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2",
    "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]",
    "([(512,10,5)]) + 2 * ([(512,3,2)] * 2) + [(512,)+(2,2)] * 2",
    "[[512,10,5]] + [[512,3,2]]*2*2 + [(512,2,2)]*(1+1)",
    "[(1,2,3),(4,5,6),]",
];

/// Every list that is accepted is one that a model can have; a refusal has a reason.
fn parse(bytes: &[u8]) -> Result<(), String> {
    match parse_conv_feature_layers(&String::from_utf8_lossy(bytes)) {
        Ok(layers) => {
            let sizes = |layer: &ConvLayer| [layer.dim, layer.kernel, layer.stride];
            let is_sane = (1..=1024).contains(&layers.len()) && !layers.iter().flat_map(sizes).any(|size| size == 0);
            if is_sane { Ok(()) } else { Err(format!("it accepted {layers:?}")) }
        }
        Err(reason) if reason.trim().is_empty() => Err("an error without a message".to_string()),
        Err(_) => Ok(()),
    }
}

#[test]
fn conv_feature_layers() {
    let _alone = super::ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let seed = |(number, text): (usize, &&str)| Seed { name: number.to_string(), bytes: text.as_bytes().to_vec() };
    let corpus = EXPRESSIONS.iter().enumerate().map(seed).collect();
    let run = |input: &Seed| bounded(input.bytes.len(), || parse(&input.bytes));
    Target { name: "conv_feature_layers", corpus, repair: None, run: &run }.fuzz();
}
