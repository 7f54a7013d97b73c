//! What the values say about the training: a random base, and rows of the position table that were not trained.

use super::*;

/// Normal values by Box and Muller, from a linear congruential generator.
fn normal(count: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    };
    (0..count).map(|_| ((-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()) as f32).collect()
}

#[test]
fn a_random_base_is_reported_and_recorded() {
    let scratch = Scratch::new();
    let printed = convert_instruct(&scratch.path("random"), &[]);
    assert!(printed.contains("are audiocraft's initialisation (9 of 9 sampled)"), "{printed}");
    assert_eq!(config(&scratch.path("random"))["instruct"]["base_was_random"], true);

    let trained = changed(&scratch, |tensors| {
        for i in 0..LAYERS {
            let stacked = tensors[&format!("{}cross_attention.in_proj_weight", peft_layer(i))].clone();
            for (number, part) in ["q_proj.base_layer", "k_proj", "v_proj.base_layer"].into_iter().enumerate() {
                let key = format!("{}cross_attention.{part}.weight", peft_layer(i));
                tensors.insert(key, (vec![WIDTH, WIDTH], third(&stacked, number)));
            }
        }
    });
    let printed = convert(&trained, &scratch.path("trained"), &[]);
    assert!(printed.contains("random base  no: "), "{printed}");
    let fields = config(&scratch.path("trained"));
    assert_eq!(fields["instruct"]["base_was_random"], false);
    assert_eq!((&fields["instruct"]["lora_merged"], &fields["instruct"]["lora_scale"]), (&true.into(), &2.0.into()));
}

#[test]
fn rows_that_were_not_trained_are_a_warning() {
    let scratch = Scratch::new();
    let printed = convert_instruct(&scratch.path("trained"), &[]);
    assert!(printed.contains("positions    rows to 25") && !printed.contains("warning"), "{printed}");
    let fields = config(&scratch.path("trained"));
    assert_eq!(
        (&fields["instruct"]["second_half_untrained"], &fields["instruct"]["trained_frames"]),
        (&false.into(), &50.into())
    );
    assert_eq!(fields["cp_transformer"]["max_frames"], 51);

    let half = changed(&scratch, |tensors| {
        let (shape, values) = tensors.get_mut("model.cp_transformer.pos_emb").unwrap();
        let (rows, width) = (shape[1], shape[2]);
        for (i, (value, initial)) in values.iter_mut().zip(normal(shape[0] * rows * width)).enumerate() {
            let row = i / width % rows;
            *value = if row > 25 { initial } else { 0.5 * *value };
        }
    });
    let printed = convert(&half, &scratch.path("half"), &[]);
    assert!(printed.contains("rows from 26 were not trained: edit at most 25 frames at a time"), "{printed}");
    let instruct = config(&scratch.path("half"))["instruct"].clone();
    assert_eq!((&instruct["second_half_untrained"], &instruct["trained_frames"]), (&true.into(), &25.into()));
}
