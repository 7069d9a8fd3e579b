#include "agents/pretrained_weights.h"

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "shardscout/error.h"
#include "shardscout/plan.h"
#include "shardscout/preset_paths.h"
#include "src/digest.h"

namespace shardscout::agents {
namespace {

constexpr const char* kFormat = "shardscout policy";
constexpr int kVersion = 1;
constexpr const char* kRemedy =
    "; install the weights again, train them anew (experiments/README.md), or pass --from-scratch";

std::string PayloadOf(const PretrainedWeights& weights) {
  std::string payload(weights.numbers.size() * sizeof(float), '\0');
  std::memcpy(payload.data(), weights.numbers.data(), payload.size());
  return payload;
}

}  // namespace

std::size_t PretrainedWeights::NumNumbers() const {
  return (problem_features.size() + strategy_features.size() + 1) * width + (width + 1) * inner_width +
         (inner_width + 1 + strategy_features.size()) * 2;
}

std::string PretrainedWeightsPath() {
  return (std::filesystem::path(PresetDirectory("policies")) / "ppo.weights").string();
}

std::string DigestOf(const PretrainedWeights& weights) { return Digest(PayloadOf(weights)); }

PretrainedWeights ReadPretrainedWeights(const std::string& path) {
  const auto fail = [&](const std::string& what) { throw SpecError(path, what + kRemedy); };
  const std::string text = ReadTextFile(path);
  const std::size_t line = text.find('\n');
  const nlohmann::json header = nlohmann::json::parse(text.substr(0, line), nullptr, false);
  if (line == std::string::npos || !header.is_object() || header.value("format", "") != kFormat) {
    fail("these are no weights of a policy");
  }
  if (header.value("version", 0) != kVersion) {
    fail("weights of version " + header.value("version", nlohmann::json()).dump() + ", this program reads version " +
         std::to_string(kVersion));
  }
  const std::string payload = text.substr(line + 1);
  PretrainedWeights weights;
  try {
    weights.problem_features = header.at("problem_features").get<std::vector<std::string>>();
    weights.strategy_features = header.at("strategy_features").get<std::vector<std::string>>();
    weights.width = header.at("width").get<std::size_t>();
    weights.inner_width = header.at("inner_width").get<std::size_t>();
    weights.origin = header.at("origin").get<std::string>();
    if (header.at("digest") != Digest(payload)) fail("the numbers are not those that the header's digest is of");
  } catch (const nlohmann::json::exception& error) {
    fail(std::string("the header is damaged (") + error.what() + ")");
  }
  if (payload.size() != weights.NumNumbers() * sizeof(float)) {
    fail("found " + std::to_string(payload.size()) + " bytes of numbers, the header says " +
         std::to_string(weights.NumNumbers() * sizeof(float)));
  }
  weights.numbers.resize(weights.NumNumbers());
  std::memcpy(weights.numbers.data(), payload.data(), payload.size());
  return weights;
}

void WritePretrainedWeights(const PretrainedWeights& weights, const std::string& path) {
  SHARDSCOUT_CHECK_OP(weights.numbers.size(), ==, weights.NumNumbers());
  const std::string payload = PayloadOf(weights);
  const nlohmann::ordered_json header = {{"format", kFormat},
                                         {"version", kVersion},
                                         {"digest", Digest(payload)},
                                         {"origin", weights.origin},
                                         {"width", weights.width},
                                         {"inner_width", weights.inner_width},
                                         {"problem_features", weights.problem_features},
                                         {"strategy_features", weights.strategy_features}};
  WriteFileAtomically(path, header.dump() + "\n" + payload);
}

}  // namespace shardscout::agents
