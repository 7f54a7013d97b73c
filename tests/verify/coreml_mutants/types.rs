//! Mutants of declared types and of the described interface.

use mert_testkit::core_ml_package::field;
use mert_testkit::protobuf::{Field, Message, packed};

use super::edit::Fails::With;
use super::edit::{Mutant, Q_WEIGHT, at, edit_declared, edit_feature, set_extent, text};

pub(super) const TYPES: &[Mutant] = &[
    ("another extent declared", With("but fp16[1, 74, 65] is declared"), |p| {
        edit_declared(p, &at("layer_norm"), |tensor| set_extent(tensor, 2, 65));
    }),
    ("another element type declared", With("fp32[1, 74, 64] is declared"), |p| {
        edit_declared(p, &at("layer_norm"), |tensor| tensor.set(1, Field::Varint(11)));
    }),
    ("another rank declared", With("its rank is 4, but it has 3 dimensions"), |p| {
        edit_declared(p, &at("layer_norm"), |tensor| tensor.set(2, Field::Varint(4)));
    }),
    ("an unsupported element type", With("element type 12"), |p| {
        edit_declared(p, &at("layer_norm"), |tensor| tensor.set(1, Field::Varint(12)));
    }),
    ("a constant of another shape than declared", With("is declared"), |p| {
        edit_declared(p, Q_WEIGHT, |tensor| set_extent(tensor, 1, 32));
    }),
    ("a cast to another type than declared", With("it is fp32[1, 32, 4799], but fp16"), |p| {
        p.set_constant("feature_extractor_conv_layers_0_cast_dtype", text("fp32"));
    }),
    ("the program's input of another length", With("the program declares fp32[1, 24001]"), |p| {
        p.edit_main(|main| {
            main.edit(1, |input| input.edit(2, |value| value.edit(1, |tensor| set_extent(tensor, 1, 24_001))));
        });
    }),
    ("the described input of another length", With("takes 24001 samples"), |p| {
        edit_feature(p, 1, |array| array.set(1, packed(&[1, 24_001])));
    }),
    ("the described input of another name", With("described input `audio`: expected `input_values`"), |p| {
        p.model.edit(field::DESCRIPTION, |description| description.edit(1, |input| input.set_text(1, "audio")));
    }),
    ("the described output in half precision", With("expected FLOAT32"), |p| {
        edit_feature(p, 10, |array| array.set(2, Field::Varint(65_552)));
    }),
    ("the described output of another shape", With("its shape is [12, 64]"), |p| {
        edit_feature(p, 10, |array| array.set(1, packed(&[12, 64])));
    }),
    ("the described output of another name", With("its program returns [\"hidden_states\"]"), |p| {
        p.model.edit(field::DESCRIPTION, |description| description.edit(10, |output| output.set_text(1, "states")));
    }),
    ("an optional input", With("it is optional"), |p| {
        p.model.edit(field::DESCRIPTION, |description| {
            description.edit(1, |input| input.edit(3, |feature_type| feature_type.set(1000, Field::Varint(1))));
        });
    }),
    ("an input that is also a number", With("unsupported fields"), |p| {
        p.model.edit(field::DESCRIPTION, |description| {
            description.edit(1, |input| input.edit(3, |feature_type| feature_type.set_message(1, &Message::default())));
        });
    }),
    ("a second kind of model beside the program", With("unsupported fields"), |p| {
        p.model.set_message(500, &Message::default());
    }),
    ("an updatable model", With("unsupported fields"), |p| p.model.set(10, Field::Varint(1))),
    ("a name for the prediction", With("unsupported fields"), |p| {
        p.model.edit(field::DESCRIPTION, |description| description.set_text(11, "hidden_states"));
    }),
    ("two programs", With("unsupported fields"), |p| {
        let program = p.model.0.iter().find(|(number, _)| *number == field::ML_PROGRAM).cloned();
        p.model.0.extend(program);
    }),
    ("an extent left open", With("its length is fixed, but operation"), |p| {
        edit_declared(p, &at("layer_norm"), |tensor| {
            tensor.edit_each(3, |dimension| dimension.0 = vec![(2, Field::Bytes(Vec::new()))]);
        });
    }),
    ("no description", With("no `description`"), |p| p.model.remove(field::DESCRIPTION)),
];
