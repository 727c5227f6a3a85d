//! Settings of a service: declared once, given in four places.
//!
//! Every setting `data_dir` is a flag `--data-dir`, a variable `SELVEDGE_DATA_DIR` and a key
//! `data_dir` of the service's table in the file. Flags win over variables, variables over the
//! file, the file over the defaults. clap does the first step; [`Layer::over`] the second; whoever
//! uses a setting the third.

/// Settings that may each be absent.
pub(crate) trait Layer {
    /// These, and where they say nothing, `lower`.
    #[must_use]
    fn over(self, lower: Self) -> Self;
}

/// Declares a struct of settings: an `Option` for each field, arguments for clap, keys for serde,
/// and a [`Layer`].
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub(crate) struct $name:ident {
            $($(#[$field_meta:meta])* $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, clap::Args, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(crate) struct $name {
            $(
                $(#[$field_meta])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub(crate) $field: Option<$type>,
            )*
        }

        impl $crate::settings::Layer for $name {
            fn over(self, lower: Self) -> Self {
                Self { $($field: self.$field.or(lower.$field),)* }
            }
        }
    };
}

pub(crate) use settings;
