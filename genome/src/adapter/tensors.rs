//! Whether the tensors of an adapter are those that its configuration promises.

use std::collections::BTreeMap;

use super::Fault;
use super::config::{Config, Targets, is_tail};
use super::safetensors::Tensor;

/// What a tensor is for a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The first factor: rank first.
    A,
    /// The second factor: rank second.
    B,
    /// Something beside the factors: a bias of B, a magnitude.
    Other,
}

/// The ends of the names that factors have, and their counterparts.
const PAIRS: [(&str, &str); 2] = [("lora_A.weight", "lora_B.weight"), ("lora_embedding_A", "lora_embedding_B")];
/// Other ends of names that belong to a changed module.
const OTHERS: [&str; 2] = ["lora_B.bias", "lora_magnitude_vector"];
/// What stands before the path of a module in the base model.
const PREFIX: &str = "base_model.model.";

/// The module's path and what the tensor is for it; `None` for a tensor that is no part of a low-rank change.
fn split(name: &str) -> Option<(&str, Role)> {
    let module = |end: &str| name.strip_suffix(end)?.strip_suffix('.');
    let factor = PAIRS
        .iter()
        .find_map(|(a, b)| module(a).map(|path| (path, Role::A)).or_else(|| module(b).map(|path| (path, Role::B))));
    factor.or_else(|| OTHERS.iter().find_map(|end| module(end)).map(|path| (path, Role::Other)))
}

/// Checks names, pairs and ranks.
///
/// # Errors
/// The first [`Fault`] that was found.
pub fn check(config: &Config, tensors: &[Tensor]) -> Result<(), Fault> {
    let by_name: BTreeMap<&str, &Tensor> = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    for tensor in tensors {
        let targets = || config.targets.names().join(", ");
        let stray = || Fault::NotInTargets { tensor: tensor.name.clone(), targets: targets() };
        let path = |full: &str| full.strip_prefix(PREFIX).unwrap_or(full).to_owned();
        match split(&tensor.name) {
            Some((full, role)) => {
                let path = path(full);
                if !config.targets.contain(&path) {
                    return Err(stray());
                }
                check_factor(config, &path, tensor, role)?;
                if let Some(counterpart) = counterpart(&tensor.name)
                    && !by_name.contains_key(counterpart.as_str())
                {
                    return Err(Fault::Unpaired { tensor: tensor.name.clone(), counterpart });
                }
            }
            None => {
                let (module, _) = tensor.name.rsplit_once('.').unwrap_or((&tensor.name, ""));
                let module = path(module);
                if !config.modules_to_save.iter().any(|saved| is_tail(&module, saved)) {
                    return Err(stray());
                }
            }
        }
    }
    let Targets::Names(targets) = &config.targets else { return Ok(()) };
    let paths: Vec<&str> = tensors.iter().filter_map(|tensor| split(&tensor.name).map(|(path, _)| path)).collect();
    match targets.iter().find(|target| !paths.iter().any(|path| is_tail(path, target))) {
        Some(target) => Err(Fault::TargetWithoutTensor { target: target.clone() }),
        None => Ok(()),
    }
}

/// The name of the other factor.
fn counterpart(name: &str) -> Option<String> {
    PAIRS.iter().find_map(|(a, b)| {
        let other = |one: &str, other: &str| Some(format!("{}{other}", name.strip_suffix(one)?));
        other(a, b).or_else(|| other(b, a))
    })
}

fn check_factor(config: &Config, path: &str, tensor: &Tensor, role: Role) -> Result<(), Fault> {
    let rank = match (role, tensor.shape.as_slice()) {
        (Role::Other, _) => return Ok(()),
        // Factors of convolutions have a kernel's size behind the two.
        (Role::A, [rank, _, ..]) | (Role::B, [_, rank, ..]) => *rank,
        _ => return Err(Fault::Shape { tensor: tensor.name.clone(), shape: tensor.shape.clone() }),
    };
    match config.rank_of(path) {
        Some(wanted) if wanted != rank => {
            let (tensor, shape) = (tensor.name.clone(), tensor.shape.clone());
            Err(Fault::Rank { tensor, shape, found: rank, wanted })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::safetensors::Dtype;

    fn tensor(name: &str, shape: &[u64]) -> Tensor {
        Tensor { name: format!("{PREFIX}{name}"), dtype: Dtype::F16, shape: shape.to_vec(), begin: 0, end: 0 }
    }

    fn config(extra: &str) -> Config {
        let text = format!(r#"{{"peft_type": "LORA", "r": 8, "target_modules": ["q_proj", "embed"]{extra}}}"#);
        Config::read(text.as_bytes()).unwrap()
    }

    fn sound() -> Vec<Tensor> {
        vec![
            tensor("l.0.q_proj.lora_A.weight", &[8, 64]),
            tensor("l.0.q_proj.lora_B.weight", &[32, 8]),
            tensor("embed.lora_embedding_A", &[8, 1000]),
            tensor("embed.lora_embedding_B", &[64, 8]),
        ]
    }

    #[test]
    fn pairs_of_the_promised_rank_pass() {
        assert_eq!(check(&config(""), &sound()), Ok(()));
        let saved = [sound(), vec![tensor("lm_head.weight", &[10, 10])]].concat();
        assert_eq!(check(&config(r#", "modules_to_save": ["lm_head"]"#), &saved), Ok(()));
    }

    #[test]
    fn what_does_not_belong_is_named() {
        let with = |extra: Tensor| check(&config(""), &[sound(), vec![extra]].concat()).unwrap_err();
        assert!(matches!(with(tensor("lm_head.weight", &[10, 10])), Fault::NotInTargets { .. }));
        assert!(matches!(with(tensor("l.0.k_proj.lora_A.weight", &[8, 64])), Fault::NotInTargets { .. }));
        assert!(matches!(with(tensor("l.1.q_proj.lora_A.weight", &[8, 64])), Fault::Unpaired { .. }));
        assert!(matches!(with(tensor("l.1.q_proj.lora_B.weight", &[64, 4])), Fault::Rank { found: 4, wanted: 8, .. }));
        assert!(matches!(with(tensor("l.1.q_proj.lora_B.weight", &[64])), Fault::Shape { .. }));
        let missing = check(&config(""), &sound()[..2]).unwrap_err();
        assert_eq!(missing, Fault::TargetWithoutTensor { target: "embed".into() });
    }
}
