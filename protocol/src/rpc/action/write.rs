//! Requests as they go.

use super::Action;
use crate::rpc::IdPack;
use crate::rpc::boxed::{Objects, Packer, Unsendable};

impl Action {
    /// Appends the body of a request.
    pub(in crate::rpc) fn write<O: Objects>(
        &self,
        object: &IdPack,
        packer: &mut Packer<'_, O>,
    ) -> Result<(), Unsendable> {
        packer.op(self.op())?;
        if matches!(self, Self::Inspect) {
            packer.id_argument(object)?;
            return Ok(());
        }
        packer.arguments(self.args_len())?.remote(object)?;
        match self {
            Self::GetAttr { name } | Self::DelAttr { name } => packer.str(name)?,
            Self::SetAttr { name, value } => packer.str(name)?.boxed(value)?,
            Self::Call { args } => packer.members(&args.positional)?.pairs(&args.keyword)?,
            Self::CallAttr { name, args } => {
                packer.str(name)?.members(&args.positional)?.pairs(&args.keyword)?
            }
            Self::Repr | Self::Str | Self::Hash | Self::Dir | Self::Inspect => packer,
            Self::Cmp { other, comparison } => packer.boxed(other)?.str(comparison.method())?,
            Self::Pickle { protocol } => packer.int(*protocol)?,
            Self::BuffIter { count } => packer.int(i64::try_from(*count).unwrap_or(i64::MAX))?,
            Self::OldSlicing { name, fallback, start, stop, args } => {
                packer.str(name)?.str(fallback)?.boxed(start)?.boxed(stop)?.members(args)?
            }
            Self::CtxExit { exception } => packer.boxed(exception)?,
            Self::InstanceCheck { other } => packer.value(other)?,
        };
        Ok(())
    }

    /// How many arguments are written, the object included.
    fn args_len(&self) -> usize {
        match self {
            Self::Repr | Self::Str | Self::Hash | Self::Dir | Self::Inspect => 1,
            Self::GetAttr { .. }
            | Self::DelAttr { .. }
            | Self::Pickle { .. }
            | Self::BuffIter { .. }
            | Self::CtxExit { .. }
            | Self::InstanceCheck { .. } => 2,
            Self::SetAttr { .. } | Self::Call { .. } | Self::Cmp { .. } => 3,
            Self::CallAttr { .. } => 4,
            Self::OldSlicing { .. } => 6,
        }
    }
}
