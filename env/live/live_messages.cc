#include "env/live/live_messages.h"

#include <nlohmann/json.hpp>

#include "shardscout/plan.h"

namespace shardscout::live {

using nlohmann::json;

std::string ToJson(const LiveRequest& request) {
  json strategies = json::array();
  for (const Strategy& strategy : request.strategies) strategies.push_back(json::parse(ToJson(strategy)));
  return json{{"problem", json::parse(request.problem_json)},
              {"strategies", std::move(strategies)},
              {"prove", request.prove},
              {"warmup", request.warmup},
              {"repeats", request.repeats},
              {"seed", request.seed}}
      .dump();
}

LiveRequest ParseLiveRequest(std::string_view text) {
  const json document = json::parse(text);
  LiveRequest request;
  request.problem_json = document.at("problem").dump();
  for (const json& strategy : document.at("strategies")) {
    request.strategies.push_back(ParseStrategy(strategy.dump(), "request"));
  }
  request.prove = document.at("prove").get<bool>();
  request.warmup = document.at("warmup").get<int>();
  request.repeats = document.at("repeats").get<int>();
  request.seed = document.at("seed").get<std::uint64_t>();
  return request;
}

std::string ToJson(const std::vector<LiveMeasurement>& measurements) {
  json answer = json::array();
  for (const LiveMeasurement& measurement : measurements) {
    json phases = json::array(), tasks = json::array();
    for (const PhaseMeasurement& phase : measurement.phases) {
      phases.push_back({{"phase", static_cast<int>(phase.phase)}, {"seconds", phase.seconds}});
    }
    for (const TaskMeasurement& task : measurement.tasks) {
      tasks.push_back({{"phase", static_cast<int>(task.phase)},
                       {"block", static_cast<int>(task.block)},
                       {"task", task.task},
                       {"calls", task.calls},
                       {"seconds", task.seconds},
                       {"payload_bytes", task.payload_bytes}});
    }
    answer.push_back({{"max_error", measurement.max_error},
                      {"logits_rows", measurement.logits_rows},
                      {"phases", std::move(phases)},
                      {"tasks", std::move(tasks)}});
  }
  return json{{"measurements", std::move(answer)}}.dump();
}

std::vector<LiveMeasurement> ParseLiveAnswer(std::string_view text) {
  const json document = json::parse(text);
  std::vector<LiveMeasurement> measurements;
  for (const json& entry : document.at("measurements")) {
    LiveMeasurement& measurement = measurements.emplace_back();
    // JSON has no NaN: null.
    const json& error = entry.at("max_error");
    measurement.max_error = error.is_null() ? std::numeric_limits<double>::infinity() : error.get<double>();
    measurement.logits_rows = entry.at("logits_rows").get<std::int64_t>();
    for (const json& phase : entry.at("phases")) {
      measurement.phases.push_back(
          {static_cast<Phase>(phase.at("phase").get<int>()), phase.at("seconds").get<std::vector<double>>()});
    }
    for (const json& task : entry.at("tasks")) {
      measurement.tasks.push_back({static_cast<Phase>(task.at("phase").get<int>()),
                                   static_cast<BlockKind>(task.at("block").get<int>()), task.at("task").get<int>(),
                                   task.at("calls").get<std::int64_t>(), task.at("seconds").get<std::vector<double>>(),
                                   task.at("payload_bytes").get<double>()});
    }
  }
  return measurements;
}

std::string ToJson(const EvaluationRequest& request) {
  json strategies = json::array();
  for (const Strategy& strategy : request.strategies) strategies.push_back(json::parse(ToJson(strategy)));
  return json{{"evaluate", request.evaluator},
              {"problem", json::parse(request.problem_json)},
              {"strategies", std::move(strategies)}}
      .dump();
}

bool IsEvaluationRequest(std::string_view text) { return json::parse(text).contains("evaluate"); }

EvaluationRequest ParseEvaluationRequest(std::string_view text) {
  const json document = json::parse(text);
  EvaluationRequest request{document.at("problem").dump(), document.at("evaluate").get<std::string>(), {}};
  for (const json& strategy : document.at("strategies")) {
    request.strategies.push_back(ParseStrategy(strategy.dump(), "request"));
  }
  return request;
}

std::string JoinEvaluations(const std::vector<std::string>& parts) {
  std::vector<json> lists;
  std::size_t count = 0;
  for (const std::string& part : parts) {
    lists.push_back(json::parse(part));
    count += lists.back().size();
  }
  json joined = json::array();
  for (std::size_t i = 0; i < count; ++i) joined.push_back(std::move(lists[i % lists.size()].at(i / lists.size())));
  return json{{"evaluations", std::move(joined)}}.dump();
}

std::vector<Evaluation> ParseEvaluations(std::string_view text) {
  const json document = json::parse(text);
  std::vector<Evaluation> evaluations;
  for (const json& entry : document.at("evaluations")) {
    evaluations.push_back(ParseEvaluation(entry.dump(), "answer"));
  }
  return evaluations;
}

std::string ErrorLine(std::string_view message) {
  return json{{"error", message}}.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace shardscout::live
