#include "src/evaluation_json.h"

#include <nlohmann/json.hpp>
#include <string>

#include "shardscout/plan.h"
#include "src/json/fields.h"
#include "src/json/json_text.h"

namespace shardscout {

nlohmann::ordered_json EvaluationJson(const Evaluation& evaluation) { return json::WriteJson(evaluation); }

Evaluation ReadEvaluation(const nlohmann::json& value, std::string_view file) {
  return json::ReadJson<Evaluation>(value, file);
}

std::string ToJson(const Evaluation& evaluation, int indent) { return EvaluationJson(evaluation).dump(indent); }

Evaluation ParseEvaluation(std::string_view json, std::string_view place) {
  return ReadEvaluation(json::ParseText(json, place), place);
}

}  // namespace shardscout
