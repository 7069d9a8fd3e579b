#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "shardscout/deployment.h"
#include "shardscout/error.h"
#include "src/import/framework_settings.h"
#include "src/import/settings.h"

namespace shardscout::importers {
namespace {

Deployment OfSettings(Framework framework, Settings& settings, const ModelSpec* model) {
  switch (framework) {
    case Framework::kVllm:
      return DeploymentOfVllm(settings, model);
    case Framework::kSglang:
      return DeploymentOfSglang(settings, model);
    case Framework::kTensorRtLlm:
      return DeploymentOfTensorRtLlm(settings, model);
    case Framework::kMegatron:
      return DeploymentOfMegatron(settings, model);
    default:  // Of the others no signature is known.
      break;
  }
  return DeploymentOfDeepSpeed(settings, model);
}

/// Names that only one of the frameworks has.
struct Signature {
  Framework framework;
  std::vector<std::string_view> names;
};

const std::vector<Signature>& Signatures() {
  static const std::vector<Signature> kSignatures = {
      {Framework::kVllm,
       {"enable-expert-parallel", "max-num-seqs", "gpu-memory-utilization", "max-model-len", "max-num-batched-tokens",
        "data-parallel-size-local", "decode-context-parallel-size", "prefill-context-parallel-size", "all2all-backend",
        "enable-dbo"}},
      {Framework::kSglang,
       {"tp-size", "dp-size", "pp-size", "model-path", "enable-dp-attention", "mem-fraction-static", "moe-a2a-backend",
        "enable-dp-lm-head", "moe-dense-tp-size", "max-running-requests", "chunked-prefill-size", "context-length"}},
      {Framework::kTensorRtLlm,
       {"moe-tensor-parallel-size", "moe-expert-parallel-size", "enable-attention-dp", "max-batch-size",
        "max-num-tokens", "max-seq-len", "kv-cache-config.dtype", "kv-cache-config.free-gpu-memory-fraction",
        "gpus-per-node", "moe-config.backend", "pp-partition", "cp-config.cp-type"}},
      {Framework::kMegatron,
       {"tensor-model-parallel-size", "pipeline-model-parallel-size", "expert-model-parallel-size",
        "pipeline-model-parallel-layout"}},
      {Framework::kDeepSpeed, {"tensor-parallel.autotp-size"}},
  };
  return kSignatures;
}

std::optional<Framework> FrameworkOfNames(const Settings& settings) {
  std::optional<Framework> best;
  std::ptrdiff_t most = 0;
  for (const Signature& signature : Signatures()) {
    const auto hits = std::count_if(signature.names.begin(), signature.names.end(),
                                    [&](std::string_view name) { return settings.Has(name); });
    if (hits <= most) continue;
    most = hits;
    best = signature.framework;
  }
  // What all serving engines have; underlines or hyphens are gone here, so that vLLM, whose names these are, is taken.
  if (!best && (settings.Has("tensor-parallel-size") || settings.Has("data-parallel-size"))) return Framework::kVllm;
  return best;
}

std::optional<Framework> FrameworkOfProgram(const std::vector<std::string>& program) {
  for (const std::string& word : program) {
    if (word.ends_with("trtllm-serve") || word == "dynamo.trtllm") return Framework::kTensorRtLlm;
    if (word == "sglang.launch_server" || word == "dynamo.sglang") return Framework::kSglang;
    if (word == "vllm" || word.ends_with("/vllm") || word.starts_with("vllm.") || word == "dynamo.vllm") {
      return Framework::kVllm;
    }
    if (word.ends_with("torchrun") || word.find("pretrain_") != std::string::npos) return Framework::kMegatron;
  }
  return std::nullopt;
}

/// The model that follows "serve".
std::string ModelOfProgram(const std::vector<std::string>& program) {
  for (std::size_t i = 0; i + 1 < program.size(); ++i) {
    const bool serves = program[i] == "serve" || program[i].ends_with("trtllm-serve");
    if (serves && program[i + 1] != "serve") return program[i + 1];
  }
  return "";
}

/// `file`: settings that the command's flags replace.
Deployment OfCommand(const std::vector<std::string>& all_words, std::string_view place, const ModelSpec* model,
                     std::optional<Framework> framework = std::nullopt,
                     const YAML::Node& file = YAML::Node(YAML::NodeType::Map)) {
  // "python -m x.y": -m is no flag of what is started.
  std::vector<std::string> words = all_words;
  if (const auto dash_m = std::find(words.begin(), words.end(), "-m");
      dash_m != words.end() && dash_m + 1 != words.end() && (dash_m + 1)->find('.') != std::string::npos) {
    words.erase(dash_m);
  }
  Command command = CommandOfWords(words, SettingsOfYaml(file, std::string(place)));
  if (!framework) framework = FrameworkOfProgram(command.program);
  if (!framework) framework = FrameworkOfNames(command.settings);
  if (!framework) {
    throw SpecError(
        place,
        "is no deployment that can be read: expected settings or a command of vLLM, SGLang, TensorRT-LLM or "
        "Megatron-LM (docs/frameworks.md)");
  }
  Deployment deployment = OfSettings(*framework, command.settings, model);
  if (deployment.model.empty()) deployment.model = ModelOfProgram(command.program);
  return deployment;
}

/// The node under the keys; an undefined one where there is none, whatever the nodes on the way are.
YAML::Node Under(const YAML::Node& root, std::initializer_list<const char*> keys) {
  YAML::Node node = root;
  for (const char* key : keys) {
    if (!node.IsDefined() || !node.IsMap()) return YAML::Node(YAML::NodeType::Undefined);
    node.reset(node[key]);
    if (!node.IsDefined()) return YAML::Node(YAML::NodeType::Undefined);
  }
  return node;
}

std::string TextOf(const YAML::Node& node) { return node && node.IsScalar() ? node.Scalar() : std::string(); }

/// "NAME=value" of each variable of a container that has one.
std::vector<std::string> AssignmentsOf(const YAML::Node& container) {
  std::vector<std::string> words;
  const YAML::Node list = Under(container, {"env"});
  if (!list || !list.IsSequence()) return words;
  for (const auto& variable : list) {
    const YAML::Node value = Under(variable, {"value"});
    if (value) words.push_back(TextOf(Under(variable, {"name"})) + "=" + TextOf(value));
  }
  return words;
}

/// The words of a container: command and args; the inner words of `sh -c`.
std::vector<std::string> WordsOf(const YAML::Node& container, std::string_view place) {
  std::vector<std::string> words;
  for (const char* key : {"command", "args"}) {
    const YAML::Node list = Under(container, {key});
    if (!list || !list.IsSequence()) continue;
    for (const auto& item : list) words.push_back(TextOf(item));
  }
  const auto dash_c = std::find(words.begin(), words.end(), "-c");
  if (dash_c != words.end() && dash_c + 1 != words.end()) return SplitWords(*(dash_c + 1), place);
  return words;
}

std::int64_t ReplicasOf(const YAML::Node& node, std::string_view place) {
  const std::string text = TextOf(node);
  if (text.empty()) return 1;
  Settings settings{std::string(place)};
  settings.Set("replicas", text);
  return settings.SizeOr1({"replicas"});
}

/// A file's documents: what is deployed, and the files that its ConfigMaps hold.
struct Documents {
  YAML::Node root;
  std::map<std::string, std::string> config_files;
};

/// The settings that a worker of TensorRT-LLM is told to read: a file of a ConfigMap beside it.
YAML::Node EngineFileOf(const std::vector<std::string>& words, const Documents& documents, const std::string& place) {
  for (const char* const flag : {"--extra-engine-args", "--extra-llm-api-options"}) {
    const auto found = std::find(words.begin(), words.end(), flag);
    if (found == words.end() || found + 1 == words.end()) continue;
    const std::string name = (found + 1)->substr((found + 1)->rfind('/') + 1);
    const auto file = documents.config_files.find(name);
    if (file == documents.config_files.end()) {
      throw SpecError(place, "its settings are in " + *(found + 1) +
                                 ", which is not among the files of a ConfigMap here; add the ConfigMap to the file, "
                                 "after a line ---");
    }
    YAML::Node settings = YAML::Load(file->second);
    if (settings.IsMap()) return settings;
    throw SpecError(place, name + " of its ConfigMap is no map of settings");
  }
  return YAML::Node(YAML::NodeType::Map);
}

std::vector<Deployment> OfDynamo(const Documents& documents, std::string_view place, const ModelSpec* model) {
  const YAML::Node& root = documents.root;
  const std::string backend = TextOf(Under(root, {"spec", "backendFramework"}));
  const Framework framework = ParseFramework(backend, std::string(place) + " spec.backendFramework");
  std::vector<Deployment> deployments;
  for (const auto& entry : Under(root, {"spec", "services"})) {
    const YAML::Node service = entry.second;
    const YAML::Node container = Under(service, {"extraPodSpec", "mainContainer"});
    const std::vector<std::string> started = WordsOf(container, place);
    if (TextOf(Under(service, {"componentType"})) == "frontend" || started.empty()) continue;
    const std::string here = std::string(place) + " spec.services." + TextOf(entry.first);
    std::vector<std::string> words = AssignmentsOf(container);
    words.insert(words.end(), started.begin(), started.end());
    Deployment deployment = OfCommand(words, here, model, framework, EngineFileOf(started, documents, here));
    deployment.role = TextOf(Under(service, {"subComponentType"}));
    deployment.replicas *= ReplicasOf(Under(service, {"replicas"}), here + ".replicas");
    deployments.push_back(std::move(deployment));
  }
  return deployments;
}

Deployment OfLeaderWorkerSet(const YAML::Node& root, std::string_view place, const ModelSpec* model) {
  const YAML::Node containers = Under(root, {"spec", "leaderWorkerTemplate", "leaderTemplate", "spec", "containers"});
  if (!containers || !containers.IsSequence() || containers.size() == 0) {
    throw SpecError(place, "the leader of this LeaderWorkerSet has no container");
  }
  Deployment deployment = OfCommand(WordsOf(containers[0], place), place, model);
  deployment.replicas *= ReplicasOf(Under(root, {"spec", "replicas"}), std::string(place) + " spec.replicas");
  return deployment;
}

/// Numbers of a map under other names, as vLLM's.
Deployment OfVllmNames(const YAML::Node& map, std::span<const std::pair<const char*, const char*>> names,
                       const std::vector<std::string>& words, const std::string& place, const ModelSpec* model) {
  Settings settings = CommandOfWords(words, Settings(place)).settings;
  for (const auto& [theirs, name] : names) {
    const YAML::Node value = Under(map, {theirs});
    if (value && value.IsScalar()) settings.Set(name, value.Scalar());
  }
  return DeploymentOfVllm(settings, model);
}

constexpr std::array<std::pair<const char*, const char*>, 4> kParallelismNames = {
    {{"tensor", "tensor-parallel-size"},
     {"pipeline", "pipeline-parallel-size"},
     {"data", "data-parallel-size"},
     {"expert", "enable-expert-parallel"}}};

/// What KServe adds to its own command: variables, VLLM_ADDITIONAL_ARGS, the container's words.
std::vector<std::string> KserveWords(const YAML::Node& container, std::string_view place) {
  constexpr std::string_view kAdditional = "VLLM_ADDITIONAL_ARGS=";
  std::vector<std::string> words = AssignmentsOf(container);
  std::vector<std::string> flags;
  for (const std::string& word : words) {
    if (word.starts_with(kAdditional)) flags = SplitWords(std::string_view(word).substr(kAdditional.size()), place);
  }
  words.insert(words.end(), flags.begin(), flags.end());
  const std::vector<std::string> own = WordsOf(container, place);
  words.insert(words.end(), own.begin(), own.end());
  return words;
}

std::vector<Deployment> OfKserve(const YAML::Node& root, std::string_view place, const ModelSpec* model) {
  const YAML::Node spec = Under(root, {"spec"});
  std::vector<Deployment> deployments;
  const auto add = [&](const YAML::Node& part, const std::string& role, const std::string& here) {
    const YAML::Node containers = Under(part, {"template", "containers"});
    std::vector<std::string> words;
    if (containers && containers.IsSequence() && containers.size() > 0) words = KserveWords(containers[0], place);
    Deployment deployment =
        OfVllmNames(Under(part, {"parallelism"}), kParallelismNames, words, here + ".parallelism", model);
    deployment.role = role;
    deployment.model = TextOf(Under(spec, {"model", "name"}));
    deployment.replicas *= ReplicasOf(Under(part, {"replicas"}), here + ".replicas");
    deployments.push_back(std::move(deployment));
  };
  const bool two = Under(spec, {"prefill"}).IsDefined();
  if (two) add(Under(spec, {"prefill"}), "prefill", std::string(place) + " spec.prefill");
  add(spec, two ? "decode" : "", std::string(place) + " spec");
  return deployments;
}

std::vector<Deployment> OfLlmd(const YAML::Node& root, std::string_view place, const ModelSpec* model) {
  std::vector<Deployment> deployments;
  for (const char* role : {"prefill", "decode"}) {
    const YAML::Node part = Under(root, {role});
    if (!part || !Under(part, {"parallelism"}) || TextOf(Under(part, {"create"})) == "false") continue;
    std::vector<std::string> words;
    const YAML::Node containers = Under(part, {"containers"});
    if (containers && containers.IsSequence() && containers.size() > 0) words = WordsOf(containers[0], place);
    const std::string here = std::string(place) + " " + role;
    Deployment deployment = OfVllmNames(Under(part, {"parallelism"}), kParallelismNames, words, here, model);
    deployment.role = role;
    deployment.model = TextOf(Under(root, {"modelArtifacts", "name"}));
    deployment.replicas *= ReplicasOf(Under(part, {"replicas"}), here + ".replicas");
    deployments.push_back(std::move(deployment));
  }
  return deployments;
}

std::vector<Deployment> OfProductionStack(const YAML::Node& root, std::string_view place, const ModelSpec* model) {
  static constexpr std::array<std::pair<const char*, const char*>, 5> kNames = {
      {{"tensorParallelSize", "tensor-parallel-size"},
       {"pipelineParallelSize", "pipeline-parallel-size"},
       {"maxModelLen", "max-model-len"},
       {"maxNumSeqs", "max-num-seqs"},
       {"gpuMemoryUtilization", "gpu-memory-utilization"}}};
  std::vector<Deployment> deployments;
  for (const auto& entry : Under(root, {"servingEngineSpec", "modelSpec"})) {
    const YAML::Node config = Under(entry, {"vllmConfig"});
    std::vector<std::string> words;
    if (Under(config, {"extraArgs"}) && Under(config, {"extraArgs"}).IsSequence()) {
      for (const auto& item : Under(config, {"extraArgs"})) words.push_back(TextOf(item));
    }
    const std::string here = std::string(place) + " modelSpec " + TextOf(Under(entry, {"name"}));
    Deployment deployment = OfVllmNames(config, kNames, words, here, model);
    deployment.model = TextOf(Under(entry, {"modelURL"}));
    deployment.replicas *= ReplicasOf(Under(entry, {"replicaCount"}), here + ".replicaCount");
    deployments.push_back(std::move(deployment));
  }
  return deployments;
}

/// AIConfigurator counts as this program does.
std::vector<Deployment> OfEstimateRequest(const YAML::Node& root, const std::string& place) {
  std::vector<Deployment> deployments;
  const YAML::Node topology = Under(root, {"topology"});
  for (const auto& [key, role] : {std::pair{"worker", ""}, {"prefill", "prefill"}, {"decode", "decode"}}) {
    const YAML::Node worker = Under(topology, {key});
    if (!worker) continue;
    Settings settings = SettingsOfYaml(worker, place + " topology." + key);
    Deployment d;
    d.framework = ParseFramework(TextOf(Under(root, {"backend", "name"})), place + " backend.name");
    d.role = role;
    d.model = TextOf(Under(root, {"model", "path"}));
    d.degrees = {.pipeline = settings.SizeOr1({"pp-size"}),
                 .attention_tensor = settings.SizeOr1({"tp-size"}),
                 .context = 1,
                 .attention_data = settings.SizeOr1({"attention-dp-size"}),
                 .expert_tensor = settings.SizeOr1({"moe-tp-size"}),
                 .expert = settings.SizeOr1({"moe-ep-size"})};
    d.replicas = settings.SizeOr1({"replicas"});
    d.max_batch_size = settings.Size({"batch-size"});
    deployments.push_back(std::move(d));
  }
  return deployments;
}

bool IsKubernetes(const YAML::Node& root) {
  const std::string kind = TextOf(Under(root, {"kind"}));
  return kind == "DynamoGraphDeployment" || kind == "LeaderWorkerSet" || kind == "LLMInferenceService";
}

/// The texts between lines of ---, without empty ones. (YAML::LoadAll does not end on some malformed texts.)
std::vector<std::string> PartsOf(std::string_view text) {
  std::vector<std::string> parts(1);
  bool empty = true;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("---") && line.find_first_not_of("- \r") == std::string::npos) {
      if (!empty) parts.emplace_back();
      empty = true;
      continue;
    }
    empty = empty && line.find_first_not_of(" \r\t") == std::string::npos;
    parts.back() += line + "\n";
  }
  if (empty && parts.size() > 1) parts.pop_back();
  return parts;
}

/// A file of maps: the one that is deployed, or the first; nullopt for a command, or for what is no YAML.
std::optional<Documents> DocumentsOf(std::string_view text) {
  std::vector<YAML::Node> all;
  try {
    for (const std::string& part : PartsOf(text)) all.push_back(YAML::Load(part));
  } catch (const YAML::Exception&) {
    return std::nullopt;
  }
  if (all.empty() || !all.front().IsMap()) return std::nullopt;
  Documents documents{all.front(), {}};
  bool found = false;
  for (const YAML::Node& node : all) {
    if (!found && IsKubernetes(node)) {
      documents.root = node;
      found = true;
    }
    const YAML::Node data = Under(node, {"data"});
    if (TextOf(Under(node, {"kind"})) != "ConfigMap" || !data || !data.IsMap()) continue;
    for (const auto& entry : data) documents.config_files[TextOf(entry.first)] = TextOf(entry.second);
  }
  return documents;
}

/// Whether OfMap knows what it is; plans and strategies, which speak of tensor_parallel_size too, it leaves alone.
bool IsDeployment(const YAML::Node& root) {
  if (Under(root, {"shardings"}) || Under(root, {"pools"})) return false;
  if (IsKubernetes(root) || Under(root, {"servingEngineSpec"}) ||
      TextOf(Under(root, {"schema_version"})).starts_with("aic-estimate-request/")) {
    return true;
  }
  for (const char* role : {"prefill", "decode"}) {
    if (Under(root, {role}) && Under(root, {role}).IsMap() && Under(root, {role, "parallelism"})) return true;
  }
  return FrameworkOfNames(SettingsOfYaml(root, "")).has_value();
}

std::vector<Deployment> OfMap(const Documents& documents, std::string_view place, const ModelSpec* model) {
  const YAML::Node& root = documents.root;
  const std::string kind = TextOf(Under(root, {"kind"}));
  if (kind == "DynamoGraphDeployment") return OfDynamo(documents, place, model);
  if (kind == "LeaderWorkerSet") return {OfLeaderWorkerSet(root, place, model)};
  if (kind == "LLMInferenceService") return OfKserve(root, place, model);
  if (Under(root, {"servingEngineSpec"})) return OfProductionStack(root, place, model);
  if (TextOf(Under(root, {"schema_version"})).starts_with("aic-estimate-request/")) {
    return OfEstimateRequest(root, std::string(place));
  }
  for (const char* role : {"prefill", "decode"}) {
    if (Under(root, {role}) && Under(root, {role}).IsMap() && Under(root, {role, "parallelism"}))
      return OfLlmd(root, place, model);
  }
  Settings settings = SettingsOfYaml(root, std::string(place));
  const std::optional<Framework> framework = FrameworkOfNames(settings);
  if (!framework) {
    throw SpecError(place,
                    "is no deployment that can be read: it has no setting that vLLM, SGLang, TensorRT-LLM, Megatron-LM "
                    "or DeepSpeed knows");
  }
  return {OfSettings(*framework, settings, model)};
}

}  // namespace
}  // namespace shardscout::importers

namespace shardscout {

std::vector<Deployment> ReadDeployments(std::string_view text, std::string_view place, const ModelSpec* model) {
  std::vector<Deployment> deployments;
  if (const std::optional<importers::Documents> documents = importers::DocumentsOf(text)) {
    try {
      deployments = importers::OfMap(*documents, place, model);
    } catch (const YAML::Exception& error) {
      throw SpecError(place, std::string("is no deployment that can be read: ") + error.what());
    }
  } else {
    const std::vector<std::string> words = importers::SplitWords(text, place);
    deployments = {importers::OfCommand(words, place, model)};
  }
  if (deployments.empty()) throw SpecError(place, "starts no engine that can be read");
  return deployments;
}

bool LooksLikeDeployment(std::string_view text) {
  try {
    if (const auto documents = importers::DocumentsOf(text)) return importers::IsDeployment(documents->root);
    const importers::Command command =
        importers::CommandOfWords(importers::SplitWords(text, ""), importers::Settings(""));
    return importers::FrameworkOfProgram(command.program) || importers::FrameworkOfNames(command.settings);
  } catch (const YAML::Exception&) {
    return false;
  } catch (const SpecError&) {
    return false;
  }
}

}  // namespace shardscout
