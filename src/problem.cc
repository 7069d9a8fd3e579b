#include "shardscout/problem.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "src/digest.h"
#include "src/problem_fields.h"

namespace shardscout {

Problem::Problem(ModelSpec model, ClusterSpec cluster, WorkloadSpec workload, ProblemOptions options)
    : model_(std::move(model)),
      cluster_(std::move(cluster)),
      workload_(std::move(workload)),
      options_(std::move(options)) {
  if (options_.admitted_overlaps.empty())
    throw SpecError("overlap", "the problem admits no value; give at least \"none\"");
  ProblemFile file = MakeProblemFile(*this);
  file.model.name.clear();
  file.cluster.name.clear();
  file.workload.name.clear();
  digest_ = Digest(json::WriteJson(std::move(file)).dump());
}

}  // namespace shardscout
