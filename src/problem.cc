#include "shardscout/problem.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "shardscout/error.h"
#include "src/digest.h"
#include "src/problem_fields.h"

namespace shardscout {
namespace {

/// Types wider than the device's units can be narrowed by nobody but the user.
void CheckTypes(const ModelSpec& model, const DeviceSpec& device) {
  for (const DType dtype : {model.activation_dtype, model.embedding_dtype, model.residual_dtype}) {
    if (device.PeakFlopPerS(dtype) > 0) continue;
    throw SpecError("--model", "computes in " + std::string(ToString(dtype)) + ", for which the device " + device.name +
                                   " has no peak; set the model's torch_dtype to bfloat16, or give the cluster's "
                                   "device a peak_flop_per_s for it");
  }
}

/// A model is trained in 16 bits, its layers' products in FP8 where that is asked for, whatever types its checkpoint
/// was quantised to afterwards.
ModelSpec ForTraining(ModelSpec model, const TrainingSpec& training) {
  const bool fp8 = training.precision == TrainingPrecision::kFp8;
  model.weight_dtype = model.activation_dtype = fp8 ? DType::kFp8 : DType::kBf16;
  model.embedding_dtype = model.residual_dtype = model.kv_dtype = DType::kBf16;
  model.weight_quant_block = 0;
  model.weight_quant_grouped = model.weight_zero_points = false;
  return model;
}

/// No decision variable and no value has other letters; and what is written as JSON has to be UTF-8.
void CheckLetters(const ProblemOptions& options) {
  for (const auto& [variable, value] : options.fixed) {
    for (const char c : variable + value) {
      if (c > ' ' && c <= '~') continue;
      throw SpecError("--fix " + variable + "=" + value,
                      "expected a decision variable and its value, such as tensor_parallel_size=8");
    }
  }
}

}  // namespace

Problem::Problem(ModelSpec model, ClusterSpec cluster, WorkloadSpec workload, ProblemOptions options)
    : model_(std::move(model)),
      cluster_(std::move(cluster)),
      workload_(std::move(workload)),
      options_(std::move(options)) {
  if (workload_.training) model_ = ForTraining(std::move(model_), *workload_.training);
  if (options_.admitted_overlaps.empty())
    throw SpecError("overlap", "the problem admits no value; give at least \"none\"");
  CheckTypes(model_, cluster_.device);
  CheckLetters(options_);
}

std::string Problem::Digest() const {
  ProblemFile file = MakeProblemFile(*this);
  file.model.name.clear();
  file.cluster.name.clear();
  file.workload.name.clear();
  if (file.workload.engine) file.workload.engine->name.clear();
  nlohmann::ordered_json written = json::WriteJson(std::move(file));
  // Unset it decides nothing: problems keep the digests that they had before there were frameworks.
  if (!options_.framework) written["options"].erase("framework");
  return shardscout::Digest(written.dump());
}

}  // namespace shardscout
