#pragma once

// What the interpreter shares with live runs: who holds which rows and columns, and the unsharded model.

#include "env/live/reference_model.h"
#include "strategies/layouts.h"

namespace shardscout::interpret {

using live::ConvolveChannels;
using live::DeltaDecay;
using live::DeltaStep;
using live::Gelu;
using live::IndexScores;
using live::kNormEpsilon;
using live::LayerWeights;
using live::Matrix;
using live::ModelWeights;
using live::ReferenceModel;
using live::ReferenceRequest;
using live::RmsNorm;
using live::Rotate;
using live::RowVector;
using live::Sigmoid;
using live::Silu;
using live::TopExperts;
using live::TopPositions;
using strategies::Coordinates;
using strategies::ExpertOf;
using strategies::kCopyStride;
using strategies::Layouts;
using strategies::Pass;
using strategies::PositionOf;
using strategies::RequestOf;
using strategies::RowTag;
using strategies::Tag;
using strategies::Tags;
using strategies::TagsPtr;
using strategies::TokenOf;

/// A program that does not do what its values say.
using InterpretError = strategies::ProgramError;

}  // namespace shardscout::interpret
