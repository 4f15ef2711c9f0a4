//! Names of modules in single files: kohya's and ComfyUI's.
//!
//! kohya's scripts, diffusers and ComfyUI know a module by the model of the pipeline that it is in and by its path there;
//! kohya's names have `_` for every `.` of that path, so that only the base's own names tell where the dots were.

use crate::adapter::{Factor, Lora, Naming};
use crate::error::{Error, Reason, Result};
use crate::source::model::Model;
use std::collections::BTreeMap;
use std::path::Path;

/// How a single file writes names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Kohya,
    Comfy,
}

/// A model of a pipeline: where it is in the checkpoint, and what stands for that in the two kinds of files. What is
/// written comes first; the others are read as well.
#[derive(Debug, Clone)]
struct Submodel {
    /// Empty: the checkpoint is this model alone.
    path: String,
    kohya: Vec<String>,
    comfy: Vec<String>,
}

/// The models of a pipeline that single files have names for.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    submodels: Vec<Submodel>,
    /// Why there are none, or none in the other style.
    lacking: Option<(String, Reason)>,
}

/// Those of checkpoints that hold a whole pipeline.
const SUBMODELS: [(&str, &[&str], &[&str]); 6] = [
    ("model.diffusion_model", &["lora_unet"], &["diffusion_model"]),
    ("cond_stage_model.transformer", FIRST_ENCODER_ALONE, CLIP_L),
    ("conditioner.embedders.0.transformer", FIRST_ENCODER, CLIP_L),
    ("text_encoders.clip_l.transformer", FIRST_ENCODER, CLIP_L),
    (
        "text_encoders.clip_g.transformer",
        &["lora_te2"],
        &["text_encoders.clip_g.transformer", "text_encoder_2"],
    ),
    ("text_encoders.t5xxl.transformer", T5, T5_DOTTED),
];
const FIRST_ENCODER_ALONE: &[&str] = &["lora_te", "lora_te1"];
const FIRST_ENCODER: &[&str] = &["lora_te1", "lora_te"];
const CLIP_L: &[&str] = &["text_encoders.clip_l.transformer", "text_encoder"];
const T5: &[&str] = &["lora_te3"];
const T5_DOTTED: &[&str] = &["text_encoders.t5xxl.transformer"];

/// How the paths of a diffusers U-Net begin.
const DIFFUSERS_UNET: [&str; 3] = ["down_blocks.", "mid_block.", "up_blocks."];

impl Submodel {
    fn new(path: &str, kohya: &[&str], comfy: &[&str]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self { path: path.to_owned(), kohya: owned(kohya), comfy: owned(comfy) }
    }

    /// The path of `module` within this model.
    fn within<'n>(&self, module: &'n str) -> Option<&'n str> {
        if self.path.is_empty() {
            return Some(module);
        }
        module.strip_prefix(self.path.as_str())?.strip_prefix('.')
    }

    /// All names of what lies at `path` in it, the one that is written first.
    fn names(&self, style: Style, path: &str) -> impl Iterator<Item = String> {
        let (prefixes, name) = match style {
            Style::Kohya => (&self.kohya, format!("_{}", path.replace('.', "_"))),
            Style::Comfy => (&self.comfy, format!(".{path}")),
        };
        prefixes.iter().map(move |prefix| format!("{prefix}{name}"))
    }
}

impl Places {
    /// The models that `model` holds, told by its names, its `config.json` and the name of its directory.
    ///
    /// A pipeline's checkpoint has the names of its models. A diffusers directory says in `_class_name` what it is; a
    /// transformers directory is a text encoder by its `model_type`, the first or second one by its name and its
    /// neighbours. Without a `config.json` it is a diffusion model under the names of its authors.
    pub(crate) fn of(model: &Model) -> Self {
        let any = |start: &str| model.tensors().any(|(name, _)| name.starts_with(start));
        let submodels: Vec<_> = SUBMODELS
            .iter()
            .filter(|(path, ..)| any(&format!("{path}.")))
            .map(|(path, kohya, comfy)| Submodel::new(path, kohya, comfy))
            .collect();
        if !submodels.is_empty() {
            return Self { submodels, lacking: None };
        }
        let config = model.config();
        let alone = |kohya: &[&str], comfy: &[&str]| Self {
            submodels: vec![Submodel::new("", kohya, comfy)],
            lacking: None,
        };
        let (class, kind) = (config.class_name.as_deref(), config.model_type.as_deref());
        let unet = class.is_some_and(|class| class.starts_with("UNet"));
        if unet || class.is_none() && kind.is_none() && DIFFUSERS_UNET.iter().any(|start| any(start)) {
            let why = "ComfyUI does not read a U-Net's diffusers names with dots".to_owned();
            return Self { lacking: Some((why, Reason::Dotted)), ..alone(&["lora_unet"], &[]) };
        }
        match (class, kind) {
            (Some(class), _) if class.contains("Transformer") => {
                alone(&["lora_transformer"], &["transformer"])
            }
            (None, None) => Self::diffusion(),
            (None, Some("clip_text_model")) => {
                let (directory, second) = encoder_directory(model.path());
                let (kohya, comfy) = match (directory.as_str(), second) {
                    ("text_encoder_2", _) => (&["lora_te2"][..], "text_encoder_2"),
                    (_, true) => (FIRST_ENCODER, "text_encoder"),
                    (_, false) => (FIRST_ENCODER_ALONE, "text_encoder"),
                };
                let mut places = alone(kohya, &[comfy]);
                // Later versions of transformers leave this out of the paths, which the readers expect.
                if !any("text_model.") {
                    let Submodel { kohya, comfy, .. } = &mut places.submodels[0];
                    for prefix in kohya {
                        prefix.push_str("_text_model");
                    }
                    for prefix in comfy {
                        prefix.push_str(".text_model");
                    }
                }
                places
            }
            (None, Some("t5")) => alone(T5, T5_DOTTED),
            _ => {
                let what = class.or(kind).unwrap_or_default();
                let why = format!("what single files call the modules of a {what} is not known");
                Self { submodels: Vec::new(), lacking: Some((why, Reason::NoPrefix)) }
            }
        }
    }

    /// A diffusion model alone, under the names of its authors.
    pub(crate) fn diffusion() -> Self {
        Self { submodels: vec![Submodel::new("", &["lora_unet"], &["diffusion_model"])], lacking: None }
    }

    /// A model that is called `prefix`, whatever it is.
    pub(crate) fn whole(prefix: &str) -> Self {
        let prefix = prefix.trim_end_matches(['_', '.']);
        Self { submodels: vec![Submodel::new("", &[prefix], &[prefix])], lacking: None }
    }

    /// The name of `module`; `None` where readers have none.
    pub(crate) fn name(&self, style: Style, module: &str) -> Option<String> {
        let found = self.submodels.iter().find_map(|submodel| Some((submodel, submodel.within(module)?)));
        found.and_then(|(submodel, path)| submodel.names(style, path).next())
    }

    /// # Errors
    /// When no module of the model has a name of this style.
    pub(crate) fn check(&self, style: Style) -> Result<()> {
        let named = |submodel: &Submodel| match style {
            // With a dot it would be read as one of the other style.
            Style::Kohya => {
                submodel.kohya.first().is_some_and(|prefix| !prefix.is_empty() && !prefix.contains('.'))
            }
            Style::Comfy => submodel.comfy.first().is_some_and(|prefix| !prefix.is_empty()),
        };
        match (self.submodels.iter().any(named), &self.lacking) {
            (true, _) => Ok(()),
            (_, None) => Err(Error::usage("a prefix is a name, for kohya without dots".into())),
            (_, Some((why, reason))) => Err(Error::usage(why.clone()).because(*reason)),
        }
    }

    /// `lora` under the names of a single file.
    ///
    /// # Errors
    /// When a module has no name there, two have the same, or the base stores its linear weights [in, out].
    pub(crate) fn to_single<'a>(&self, mut lora: Lora<'a>, style: Style) -> Result<Lora<'a>> {
        self.check(style)?;
        if lora.fan_in_fan_out {
            let problem = "the base stores its weights [in, out], which no reader of single files expects";
            return Err(Error::usage(problem.into()));
        }
        for module in &mut lora.modules {
            let name = self.name(style, &module.name).ok_or_else(|| {
                module.a.error(format!("single files have no name for its module {}", module.name))
            })?;
            module.name = name.into();
        }
        for tensor in &mut lora.full {
            let name = self.name(style, tensor.module()).ok_or_else(|| {
                tensor.values.error(format!("single files have no name for {}", tensor.name))
            })?;
            tensor.rename(&name);
        }
        lora.modules.sort_by(|a, b| a.name.cmp(&b.name));
        lora.naming = Naming::Single;
        lora.check()?;
        Ok(lora)
    }

    /// `lora`, whose modules have ComfyUI's names of one model, under the paths in it: what can
    /// be told without a base.
    ///
    /// # Errors
    /// When a module's name is another.
    pub(crate) fn undotted<'a>(&self, mut lora: Lora<'a>) -> Result<Lora<'a>> {
        let prefixes = || {
            self.submodels
                .iter()
                .filter(|submodel| submodel.path.is_empty())
                .flat_map(|submodel| &submodel.comfy)
        };
        let path = |name: &str, values: &Factor<'_>| {
            let path = prefixes().find_map(|prefix| name.strip_prefix(prefix.as_str())?.strip_prefix('.'));
            path.map(str::to_owned).ok_or_else(|| {
                let problem =
                    format!("of which module of the base {name} is the name, only the base's own names tell");
                values.error(problem).because(Reason::NoBase)
            })
        };
        for module in &mut lora.modules {
            module.name = path(&module.name, &module.a)?.into();
        }
        for tensor in &mut lora.full {
            tensor.name = path(&tensor.name, &tensor.values)?.into();
        }
        lora.naming = Naming::HuggingFace;
        Ok(lora)
    }

    /// `lora`, whose modules have the names of a single file, under those of a base, a model of `naming` at `path`
    /// with tensors of these `names`. Where the models of the base are not known, what stands before the first module's
    /// path stands before all.
    ///
    /// # Errors
    /// When a module's name is that of no module of the base, or of several.
    pub(crate) fn resolve<'a, 'n>(
        &self,
        mut lora: Lora<'a>,
        names: impl Iterator<Item = &'n str>,
        naming: Naming,
        base: &Path,
    ) -> Result<Lora<'a>> {
        let bases: Vec<_> = names.filter_map(|name| name.strip_suffix(".weight")).collect();
        let whole = lora.modules.first().filter(|_| self.submodels.is_empty());
        let whole = whole.and_then(|module| Some(Self::whole(prefix_of(&module.name, &bases)?)));
        let submodels = whole.as_ref().map_or(&self.submodels, |places| &places.submodels);
        let mut modules = BTreeMap::<String, Vec<&str>>::new();
        for module in bases {
            for submodel in submodels {
                let Some(path) = submodel.within(module) else { continue };
                for style in [Style::Kohya, Style::Comfy] {
                    for name in submodel.names(style, path) {
                        modules.entry(name).or_default().push(module);
                    }
                }
            }
        }
        let found = |name: &str, values: &Factor<'_>| {
            let base = base.display();
            match modules.get(name).map(Vec::as_slice) {
                Some([found]) => Ok((*found).to_owned()),
                Some([one, other, ..]) => Err(values.error(format!(
                    "its module {name} may be {one} or {other} of the base {base}, which have one name"
                ))),
                _ => {
                    let problem = format!("the base {base} has no module that single files call {name}");
                    Err(match &self.lacking {
                        None => values.error(problem),
                        Some((why, reason)) => values.error(format!("{problem}: {why}")).because(*reason),
                    })
                }
            }
        };
        for module in &mut lora.modules {
            module.name = found(&module.name, &module.a)?.into();
        }
        for tensor in &mut lora.full {
            let name = found(tensor.module(), &tensor.values)?;
            tensor.rename(&name);
        }
        lora.modules.sort_by(|a, b| a.name.cmp(&b.name));
        lora.naming = naming;
        Ok(lora)
    }
}

/// What stands before the path of one of `modules` in a single file's `name`; of the longest path that fits.
fn prefix_of<'n>(name: &'n str, modules: &[&str]) -> Option<&'n str> {
    let prefix = |module: &&str| {
        let dotted = name.strip_suffix(*module).and_then(|prefix| prefix.strip_suffix('.'));
        dotted.or_else(|| name.strip_suffix(&module.replace('.', "_"))?.strip_suffix('_'))
    };
    modules.iter().filter_map(prefix).min_by_key(|prefix| prefix.len())
}

/// The name of the directory that a text encoder is in, and whether a second one is beside it.
fn encoder_directory(path: &Path) -> (String, bool) {
    let directory = if path.is_dir() { path } else { crate::run::staging::parent(path) };
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let name = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let second = directory.parent().is_some_and(|parent| parent.join("text_encoder_2").is_dir());
    (name, second)
}
