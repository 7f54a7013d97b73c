//! Centres in pickles: `KMeans` and `MiniBatchKMeans` of scikit-learn, pipelines and dictionaries of them, and arrays.

use mert_arch::printable_line;
use mert_checkpoint::estimator::{NumpyArray, PickledObject};

use super::{Foreign, from_centres};
use crate::vocabulary::{Normalize, Projection, Step};

/// The objects that are read, for messages.
const EXPECTED: &str = "expected a KMeans or MiniBatchKMeans of scikit-learn, a Pipeline that ends in one, a dictionary with one, \
    or an array of centres";

/// The vocabulary in a pickled value. Nothing is executed: an object is its attributes.
///
/// # Errors
/// A clause about the file.
pub(in crate::vocabulary) fn read(root: PickledObject<'_, '_>) -> Result<Foreign, String> {
    if let Some(array) = root.array() {
        let values = array.values().map_err(|error| error.to_string())?;
        return from_centres(array.shape(), &values);
    }
    match estimator(&root) {
        Some(KMEANS) | Some("MiniBatchKMeans") => kmeans(&root),
        Some("Pipeline") => pipeline(&root),
        Some("BisectingKMeans") => Err(BISECTING.into()),
        _ if root.python_type() == "dict" || root.python_type() == "collections.OrderedDict" => dictionary(&root),
        _ => {
            Err(format!("it is a pickled `{}`, which was not executed; {EXPECTED}", printable_line(root.python_type())))
        }
    }
}

const KMEANS: &str = "KMeans";

/// The reason why a bisecting k-means is not read.
const BISECTING: &str = "it is a BisectingKMeans, whose predictions follow its tree of divisions and are not always the nearest \
    centre; train a KMeans, or write km.cluster_centers_ with numpy.save if the nearest centre is wanted";

/// The class of an estimator of scikit-learn, without its modules.
fn estimator<'p>(object: &PickledObject<'p, '_>) -> Option<&'p str> {
    let class = object.python_type();
    if class.starts_with("sklearn.") { class.rsplit('.').next() } else { None }
}

/// An array that an estimator has after fitting.
fn fitted<'a>(object: &PickledObject<'_, 'a>, name: &str) -> Result<NumpyArray<'a>, String> {
    let class = printable_line(object.python_type());
    let value =
        object.get(name).ok_or_else(|| format!("its `{class}` has no `{name}`: it was not fitted, or is too old"))?;
    value.array().ok_or_else(|| {
        format!(
            "`{name}` of its `{class}` is a `{}`, expected an array of numbers",
            printable_line(value.python_type())
        )
    })
}

fn values(object: &PickledObject<'_, '_>, name: &str) -> Result<Vec<f64>, String> {
    let array = fitted(object, name)?;
    array.values().map_err(|error| format!("`{name}`: {error}"))
}

fn kmeans(object: &PickledObject<'_, '_>) -> Result<Foreign, String> {
    let centres = fitted(object, "cluster_centers_")?;
    let values = centres.values().map_err(|error| format!("`cluster_centers_`: {error}"))?;
    let mut foreign = from_centres(centres.shape(), &values)?;
    if let Some(version) = object.get("_sklearn_version").and_then(|version| version.text()) {
        foreign.notes.push(format!("written by scikit-learn {}", printable_line(version)));
    }
    Ok(foreign)
}

/// A step in front of the centres.
fn step(object: &PickledObject<'_, '_>) -> Result<Option<Step>, String> {
    let flag = |name: &str, default: bool| object.get(name).map_or(Some(default), |value| value.boolean());
    let unclear =
        |name: &str| format!("`{name}` of its `{}` is not true or false", printable_line(object.python_type()));
    match estimator(object) {
        Some("StandardScaler") => {
            let with_mean = flag("with_mean", true).ok_or_else(|| unclear("with_mean"))?;
            let with_std = flag("with_std", true).ok_or_else(|| unclear("with_std"))?;
            let mean = if with_mean { values(object, "mean_")? } else { Vec::new() };
            let scale = if with_std { values(object, "scale_")? } else { Vec::new() };
            let width = mean.len().max(scale.len());
            let or = |values: Vec<f64>, other: f64| if values.is_empty() { vec![other; width] } else { values };
            Ok((width > 0).then(|| Step::Standardize { mean: or(mean, 0.0), scale: or(scale, 1.0) }))
        }
        Some("PCA" | "IncrementalPCA") => {
            let components = fitted(object, "components_")?;
            let (mean, values_) = (values(object, "mean_")?, values(object, "components_")?);
            if components.shape().get(1) != Some(&mean.len()) {
                return Err(format!(
                    "the components of its PCA have the shape {:?}, and its mean {} values",
                    components.shape(),
                    mean.len()
                ));
            }
            // scikit-learn keeps a whitened value finite by the least deviation of the arrays' type.
            let least = if fitted(object, "explained_variance_").is_ok_and(|array| array.dtype().ends_with("f4")) {
                f64::from(f32::EPSILON)
            } else {
                f64::EPSILON
            };
            let scale = match flag("whiten", false).ok_or_else(|| unclear("whiten"))? {
                true => {
                    Some(values(object, "explained_variance_")?.iter().map(|value| value.sqrt().max(least)).collect())
                }
                false => None,
            };
            Ok(Some(Step::Pca { mean, components: values_, scale }))
        }
        Some("Normalizer") => match object.get("norm").and_then(|norm| norm.text()) {
            Some("l2") => Ok(Some(Step::L2)),
            other => Err(format!(
                "its Normalizer has the norm `{}`, expected l2",
                printable_line(other.unwrap_or("unknown"))
            )),
        },
        _ => Err(format!(
            "there is a `{}` in front of its centres, expected PCA, StandardScaler or Normalizer; transform the centres' frames \
             in Python, or train without it",
            printable_line(object.python_type())
        )),
    }
}

/// Puts steps in front of centres; a normalisation at the start is the vocabulary's.
fn with_steps(mut foreign: Foreign, mut steps: Vec<Step>) -> Result<Foreign, String> {
    if steps.first() == Some(&Step::L2) {
        steps.remove(0);
        foreign.vocabulary.normalize = Normalize::L2;
    }
    if !steps.is_empty() {
        let names: Vec<&str> = steps.iter().map(Step::name).collect();
        foreign.notes.push(format!("in front of the centres: {}", names.join(", ")));
        let projection = Projection::new(steps).map_err(|error| error.to_string())?;
        foreign.vocabulary.set_projection(projection).map_err(|error| error.to_string())?;
    }
    Ok(foreign)
}

fn pipeline(object: &PickledObject<'_, '_>) -> Result<Foreign, String> {
    let entries = object.get("steps").map(|steps| steps.items()).unwrap_or_default();
    // ("name", estimator)
    let estimators: Vec<PickledObject<'_, '_>> =
        entries.iter().filter_map(|entry| entry.items().get(1).copied()).collect();
    let Some((last, before)) = estimators.split_last().filter(|_| estimators.len() == entries.len()) else {
        return Err("its Pipeline has no steps".into());
    };
    match estimator(last) {
        Some(KMEANS | "MiniBatchKMeans") => {}
        Some("BisectingKMeans") => return Err(BISECTING.into()),
        _ => return Err(format!("its Pipeline ends in a `{}`; {EXPECTED}", printable_line(last.python_type()))),
    }
    let is_step = |object: &&PickledObject<'_, '_>| !object.is_none() && object.text() != Some("passthrough");
    let steps = before.iter().filter(is_step).map(step).collect::<Result<Vec<_>, _>>()?;
    with_steps(kmeans(last)?, steps.into_iter().flatten().collect())
}

/// A dictionary with one k-means, and `pca`, `scaler` and `use_l2_norm` as `SymbolicQuantizer.save` of MusicHal writes them:
/// unit length if `use_l2_norm` is true, else the scaler; then the PCA.
fn dictionary(object: &PickledObject<'_, '_>) -> Result<Foreign, String> {
    let (mut centres, mut pca, mut scaler) = (Vec::new(), None, None);
    for (name, value) in object.entries() {
        let name = printable_line(name);
        match estimator(&value) {
            Some(KMEANS | "MiniBatchKMeans") => centres.push((name, value)),
            Some("Pipeline") => centres.push((name, value)),
            Some("BisectingKMeans") => return Err(BISECTING.into()),
            Some("PCA" | "IncrementalPCA") if pca.is_none() => pca = Some(value),
            Some("StandardScaler") if scaler.is_none() => scaler = Some(value),
            Some(_) => {
                return Err(format!(
                    "its entry `{name}` is a `{}`, and what it does with frames is not known; {EXPECTED}",
                    printable_line(value.python_type())
                ));
            }
            None => {}
        }
    }
    let (_, found) = match &centres[..] {
        [found] => found,
        [] => {
            let names: Vec<String> =
                object.entries().take(8).map(|(name, _)| printable_line(name).to_string()).collect();
            return Err(format!(
                "it is a dictionary without a k-means (its entries: {}); {EXPECTED}",
                names.join(", ")
            ));
        }
        several => {
            let names: Vec<_> = several.iter().map(|(name, _)| format!("`{name}`")).collect();
            return Err(format!(
                "it is a dictionary with several k-means ({}); write one of them alone with joblib.dump",
                names.join(", ")
            ));
        }
    };
    let flag = |name: &str, default: bool| match object.get(name) {
        None => Ok(default),
        Some(value) => value.boolean().ok_or_else(|| format!("its entry `{name}` is not true or false")),
    };
    let mut foreign = if estimator(found) == Some("Pipeline") { pipeline(found)? } else { kmeans(found)? };
    let mut steps = Vec::new();
    match (flag("use_l2_norm", false)?, scaler) {
        (true, scaler) => {
            steps.push(Step::L2);
            if scaler.is_some() {
                foreign.notes.push("its scaler is not used, because `use_l2_norm` is true".into());
            }
        }
        (false, Some(scaler)) => steps.extend(step(&scaler)?),
        (false, None) => {}
    }
    match pca {
        Some(pca) if flag("use_pca", true)? => steps.extend(step(&pca)?),
        Some(_) => foreign.notes.push("its PCA is not used, because `use_pca` is false".into()),
        None => {}
    }
    if !steps.is_empty() && !foreign.vocabulary.is_plain() {
        return Err("it has steps in front of a Pipeline with steps of its own, in an order that is not known".into());
    }
    if let Some(codebook) = object.get("codebook").and_then(|codebook| codebook.array()) {
        let values = codebook.values().map_err(|error| format!("`codebook`: {error}"))?;
        if !values.iter().map(|&value| value as f32).eq(foreign.vocabulary.centroids().iter().copied()) {
            foreign.notes.push("its `codebook` differs from the centres of its k-means, which are used".into());
        }
    }
    with_steps(foreign, steps)
}
