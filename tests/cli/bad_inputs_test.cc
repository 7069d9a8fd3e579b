// What a user may get wrong, one row each: the program answers with one line that names the place and the remedy, exit
// code 2, nothing on stdout, and leaves no file behind.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "shardscout/preset_paths.h"
#include "shardscout/strategy.h"
#include "tests/cli/process.h"

namespace shardscout::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using Words = std::vector<std::string>;

std::string Preset(const std::string& folder, const std::string& name) {
  return ReadTextFile(ResolvePreset(folder, name, "test"));
}

/// `text` with the value at `pointer` replaced by `value`, or the key added.
std::string With(const std::string& text, const std::string& pointer, const ordered_json& value) {
  ordered_json document = ordered_json::parse(text);
  document[ordered_json::json_pointer(pointer)] = value;
  return document.dump();
}

std::string Without(const std::string& text, const std::string& key) {
  ordered_json document = ordered_json::parse(text);
  document.erase(key);
  return document.dump();
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

struct BadFile {
  std::string kind;     ///< As check --kind takes it.
  std::string mistake;  ///< For the reader of a failure.
  std::string text;
  std::string place;   ///< What follows the file's name.
  std::string remedy;  ///< Part of the message.
};

class BadInputs : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("shardscout_bad_" + std::to_string(::getpid()) + "_" +
                                              testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
  }
  void TearDown() override {
    fs::permissions(folder_, fs::perms::owner_all);
    fs::remove_all(folder_);
  }

  std::string Path(const std::string& name) const { return (folder_ / name).string(); }

  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(Path(name), std::ios::binary) << text;
    return Path(name);
  }

  std::set<std::string> Files() const {
    std::set<std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) files.insert(entry.path().string());
    return files;
  }

  /// One line with each of `parts`, exit code 2, nothing else.
  void ExpectRefused(Words words, const std::vector<std::string>& parts) const {
    const std::set<std::string> before = Files();
    words.insert(words.begin(), SHARDSCOUT_CLI);
    const ProcessResult result = RunProcess(words);
    EXPECT_EQ(result.exit_code, 2) << result.err.substr(0, 400);
    EXPECT_EQ(result.signal, 0);
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err.substr(0, 400);
    EXPECT_LT(result.err.size(), 1200u) << result.err.substr(0, 400);
    for (const std::string& part : parts)
      EXPECT_NE(result.err.find(part), std::string::npos) << part << "\n" << result.err;
    EXPECT_EQ(Files(), before);
  }

  fs::path folder_;
};

// ---- Files that are no JSON, in every place that takes one ----

struct Kind {
  std::string kind;
  std::string good;
};

std::vector<Kind> GoodFiles() {
  ordered_json search;
  search["annealing"]["patience"] = 3;
  return {{"model", Preset("models", "qwen3-30b-a3b")},
          {"cluster", Preset("clusters", "gb200-nvl72")},
          {"workload", Preset("workloads", "serve-chat")},
          {"search", search.dump()},
          {"strategy", ToJson(Strategy{})}};
}

TEST_F(BadInputs, TextsThatAreNoJson) {
  int rows = 0;
  for (const auto& [kind, good] : GoodFiles()) {
    const std::string first_key =
        good.substr(good.find('"') + 1, good.find('"', good.find('"') + 1) - good.find('"') - 1);
    const std::vector<BadFile> files = {
        {kind, "empty", "", "", "not JSON at line 1, column 1"},
        {kind, "blank", " \n\n", "", "not JSON at line 3"},
        {kind, "truncated", good.substr(0, good.size() / 2), "", "not JSON at line"},
        {kind, "binary",
         std::string("\x7f"
                     "ELF\0\1\2\xff\xfe{[",
                     11),
         "", "not JSON at line 1, column 1"},
        {kind, "bad UTF-8", "{\"name\": \"\xc3\x28\"}", "", "not JSON at line 1"},
        {kind, "NaN", "{\"name\": NaN}", "", "not JSON at line 1, column 10"},
        {kind, "infinity", "{\"name\": -Infinity}", "", "not JSON at line 1"},
        {kind, "too large a number", "{\"name\": 1e999}", "", "too large to represent"},
        {kind, "200,000 brackets", std::string(200000, '['), "", "nested more than 64 deep"},
        {kind, "200,000 objects",
         [] {
           std::string text;
           for (int i = 0; i < 200000; ++i) text += "{\"a\":";
           return text;
         }(),
         "", "nested more than 64 deep"},
        {kind, "a key twice", "{\"" + first_key + "\": 1, " + good.substr(1 + good.find('{')), "", "appears twice"},
        {kind, "a trailing comma", "{\"name\": 1,}", "", "not JSON at line 1"},
        {kind, "two documents", good + good, "", "not JSON at line"},
        {kind, "a list", "[" + good + "]", "#", "object"},
        {kind, "null", "null", "#", "object"}};
    for (const BadFile& bad : files) {
      SCOPED_TRACE(kind + ": " + bad.mistake);
      const std::string path = Write("bad.json", bad.text);
      ExpectRefused({"check", "--kind", kind, path}, {path + bad.place, bad.remedy});
      ++rows;
    }
  }
  EXPECT_GE(rows, 60);
}

TEST_F(BadInputs, EveryCommandThatReadsAFile) {
  const std::vector<std::pair<std::string, std::string>> texts = {
      {"", "not JSON at line 1, column 1"},
      {std::string("\0\x01\xff", 3), "not JSON at line 1, column 1"},
      {std::string(200000, '['), "nested more than 64 deep"},
      {R"({"a": 1, "a": 2})", "appears twice"}};
  const std::string path = Path("bad.json");
  const Words problem = {"-m", "llama-3.1-8b", "-c", "h100-sxm", "-w", "decode-chat"};
  for (const auto& [text, remedy] : texts) {
    Write("bad.json", text);
    for (const char* flag : {"--model", "--cluster", "--workload", "--config"}) {
      SCOPED_TRACE(flag);
      Words words = {"search", "--searcher", "random", "--out", Path("plan.json")};
      words.insert(words.end(), problem.begin(), problem.end());
      words.insert(words.end(), {flag, path});
      ExpectRefused(words, {path, remedy});
    }
    for (const char* command : {"evaluate", "explain"}) {
      SCOPED_TRACE(command);
      Words words = {command, path};
      words.insert(words.end(), problem.begin(), problem.end());
      ExpectRefused(words, {path, remedy});
    }
    ExpectRefused({"export", path, "--to", "vllm"}, {path, remedy});
  }
}

TEST_F(BadInputs, LargerThanAnySpec) {
  const std::string path = Write("large.json", "{\"name\": \"" + std::string(20 << 20, 'x') + "\"}");
  ExpectRefused({"check", path}, {path, "larger than 16 MiB"});
}

// ---- Values ----

TEST_F(BadInputs, ValuesThatAreNotAllowed) {
  const std::string model = Preset("models", "qwen3-30b-a3b");
  const std::string dense = Preset("models", "llama-3.1-8b");
  const std::string deepseek = Preset("models", "deepseek-v3");
  const std::string cluster = Preset("clusters", "h100-superpod");
  const std::string workload = Preset("workloads", "serve-chat");
  const std::string strategy = ToJson(Strategy{});
  const std::vector<BadFile> files = {
      {"model", "an unknown family", With(dense, "/architectures/0", "MambaForCausalLM"), "#/architectures/0",
       "expected one of"},
      {"model", "two families", With(dense, "/architectures/1", "LlamaForCausalLM"), "#/architectures", "expected one"},
      {"model", "no layers", With(dense, "/num_hidden_layers", 0), "#/num_hidden_layers",
       "expected an integer in [1, "},
      {"model", "too many layers", With(dense, "/num_hidden_layers", 1000000000), "#/num_hidden_layers", "100000]"},
      {"model", "half a head", With(dense, "/num_attention_heads", 32.5), "#/num_attention_heads", "an integer"},
      {"model", "a size as text", With(dense, "/hidden_size", "4096"), "#/hidden_size", "found \"4096\""},
      {"model", "1e300", With(dense, "/intermediate_size", 1e300), "#/intermediate_size", "an integer in"},
      {"model", "more parameters than there are",
       With(With(dense, "/hidden_size", 2147483648), "/vocab_size", 2147483648), "#", "2^53"},
      {"model", "KV heads that do not divide", With(dense, "/num_key_value_heads", 5), "#/num_key_value_heads",
       "expected a divisor of num_attention_heads 32"},
      {"model", "more experts a token than experts", With(model, "/num_experts_per_tok", 1000), "#/num_experts_per_tok",
       "expected at most the 128 experts"},
      {"model", "a missing size", Without(dense, "vocab_size"), "#", "missing key \"vocab_size\""},
      {"model", "a structure that is not known", With(dense, "/sparse_attention_config", {{"block", 64}}),
       "#/sparse_attention_config", "remove it if it does not"},
      {"model", "an unknown type", With(dense, "/torch_dtype", "float17"), "#/torch_dtype", "float17"},
      {"model", "a quantisation that is not read", With(deepseek, "/quantization_config/quant_method", "hqq"),
       "#/quantization_config/quant_method", "hqq"},
      {"model", "oblong blocks", With(deepseek, "/quantization_config/weight_block_size", {128, 64}),
       "#/quantization_config/weight_block_size", "equal"},
      {"cluster", "a misspelt key", With(cluster, "/device/hbm_byte", 1), "#/device/hbm_byte",
       "did you mean \"hbm_bytes\"?"},
      {"cluster", "a key with a line break", With(cluster, "/device/a\nb", 1), "#/device/a\\x0ab", "unknown key"},
      {"cluster", "a key of 100,000 letters", With(cluster, "/" + std::string(100000, 'k'), 1),
       "#/" + std::string(60, 'k') + "...", "unknown key"},
      {"cluster", "a missing key", Without(cluster, "tiers"), "#", "missing key \"tiers\""},
      {"cluster", "no network", With(cluster, "/tiers", ordered_json::array()), "#/tiers", "one or more tiers"},
      {"cluster", "an unknown topology", With(cluster, "/tiers/0/kind", "torus"), "#/tiers/0/kind", "torus_3d"},
      {"cluster", "tiers that do not nest", With(cluster, "/tiers/1/size", 12), "#/tiers/1/size",
       "a multiple of the 8"},
      {"cluster", "negative bandwidth", With(cluster, "/tiers/0/bytes_per_s", -1), "#/tiers/0/bytes_per_s", "[1, "},
      {"cluster", "too much memory", With(cluster, "/device/hbm_bytes", 1e300), "#/device/hbm_bytes", "1e+18]"},
      {"cluster", "more than the peak", With(cluster, "/device/curves/gemm_bf16/peak_fraction", 1.5),
       "#/device/curves/gemm_bf16/peak_fraction", "[1e-06, 1]"},
      {"cluster", "no units at all", With(cluster, "/device/peak_flop_per_s", {{"fp8", 1e15}}),
       "#/device/peak_flop_per_s", "at least one"},
      {"cluster", "no devices", With(cluster, "/num_devices", 0), "#/num_devices", "[1, "},
      {"cluster", "more uplinks than links", With(cluster, "/tiers/2/oversubscription", 0.5),
       "#/tiers/2/oversubscription", "[1, 1000]"},
      {"cluster", "a name that is a number", With(cluster, "/name", 7), "#/name", "expected a string"},
      {"workload", "an unknown kind", With(workload, "/kind", "decod"), "#/kind", "did you mean \"decode\"?"},
      {"workload", "no prompt", With(workload, "/input_tokens", 0), "#/input_tokens", "[1, "},
      {"workload", "a negative target", With(workload, "/ttft_target_s", -2), "#/ttft_target_s", "[1e-09, "},
      {"workload", "both batch and concurrency", With(With(workload, "/batch_size", 4), "/concurrency", 9),
       "#/concurrency", "at most one of them"},
      {"workload", "a target that the kind lacks", With(With(workload, "/kind", "prefill"), "/tpot_target_s", 1),
       "#/tpot_target_s", "remove it"},
      {"workload", "more memory than there is", With(workload, "/memory_fraction", 1.01), "#/memory_fraction",
       "[1e-06, 1]"},
      {"search", "an unknown searcher", R"({"anealing": {}})", "#/anealing", "did you mean \"annealing\"?"},
      {"search", "an unknown setting", R"({"annealing": {"patince": 1}})", "#/annealing/patince",
       "did you mean \"patience\"?"},
      {"search", "a setting out of range", R"({"annealing": {"restart_from_best": 2}})",
       "#/annealing/restart_from_best", "[0, 1]"},
      {"search", "settings that are no object", R"({"annealing": 3})", "#/annealing", "an object"},
      {"strategy", "a misspelt key", With(strategy, "/tensor_paralel_size", 1), "#/tensor_paralel_size",
       "did you mean \"tensor_parallel_size\"?"},
      {"strategy", "a missing key", Without(strategy, "overlap"), "#", "missing key \"overlap\""},
      {"strategy", "a degree of 0", With(strategy, "/tensor_parallel_size", 0), "#/tensor_parallel_size", "1"},
      {"strategy", "a degree beyond int64",
       Replaced(strategy, "\"tensor_parallel_size\":1", "\"tensor_parallel_size\":99999999999999999999"),
       "#/tensor_parallel_size", "an integer"},
      {"strategy", "an unknown axis", With(strategy, "/shardings/qkv", "head"), "#/shardings/qkv",
       "did you mean \"heads\"?"},
      {"strategy", "a layout of no residual stream", With(strategy, "/residual_layout", "partial"), "#/residual_layout",
       "expected one of replicated"}};
  EXPECT_GE(files.size(), 40u);
  for (const BadFile& bad : files) {
    SCOPED_TRACE(bad.kind + ": " + bad.mistake);
    const std::string path = Write("bad.json", bad.text);
    ExpectRefused({"check", "--kind", bad.kind, path}, {path + bad.place + ":", bad.remedy});
  }
}

TEST_F(BadInputs, NamesOfFilesThatAreNoText) {
  const std::string path = Path("\xff.json");
  ExpectRefused({"check", path}, {"\\xff.json"});
  const ProcessResult result = RunProcess({SHARDSCOUT_CLI, "check", "--json", path});
  EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_FALSE(ordered_json::parse(result.out)["valid"]);
}

// ---- A given strategy on a problem ----

TEST_F(BadInputs, StrategiesThatTheProblemDoesNotAdmit) {
  const std::string good = ToJson(Strategy{});
  const Words problem = {"--model",   "llama-3.1-8b", "--cluster",  "h100-sxm",
                         "--devices", "64",           "--workload", "decode-chat"};
  const auto degree = [&](const char* name, std::int64_t value) { return With(good, std::string("/") + name, value); };
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"tp does not divide the heads", With(degree("tensor_parallel_size", 3), "/shardings/qkv", "heads")},
      {"more stages than layers", degree("pipeline_parallel_size", 33)},
      {"more ranks than devices", degree("tensor_parallel_size", 128)},
      {"experts where there are none", degree("expert_parallel_size", 2)},
      {"micro-batches that do not divide", degree("num_microbatches", 7)},
      {"degrees whose product overflows",
       With(degree("tensor_parallel_size", std::int64_t{1} << 40), "/context_parallel_size", std::int64_t{1} << 40)},
      {"the largest degree", degree("tensor_parallel_size", std::numeric_limits<std::int64_t>::max())},
      {"the largest batch", degree("batch_size", std::numeric_limits<std::int64_t>::max())}};
  for (const auto& [mistake, text] : rows) {
    SCOPED_TRACE(mistake);
    const std::string path = Write("s.json", text);
    Words words = {"evaluate", path};
    words.insert(words.end(), problem.begin(), problem.end());
    ExpectRefused(words, {"strategy"});
  }
}

// ---- A changed plan ----

TEST_F(BadInputs, PlansThatWereChanged) {
  const ProcessResult search =
      RunProcess({SHARDSCOUT_CLI, "search", "-m", "llama-3.1-8b", "-c", "h100-sxm", "-n", "8", "-w", "decode-chat",
                  "--searcher", "random", "--budget", "20", "--out", Path("plan.json"), "--quiet"});
  ASSERT_EQ(search.exit_code, 0) << search.err;
  const std::string plan = ReadTextFile(Path("plan.json"));
  const std::vector<BadFile> rows = {
      {"plan", "another version", With(plan, "/schema_version", 99), "#/schema_version", "search again"},
      {"plan", "another problem", With(plan, "/problem/spec/model/hidden_size", 8192), "#/problem/digest", "changed"},
      {"plan", "a cluster that is none", With(plan, "/problem/spec/cluster/tiers/0/size", -1),
       "#/problem/spec/cluster/tiers/0/size", "[0, "},
      {"plan", "no pool", With(plan, "/pools", ordered_json::array()), "#/pools", "one or two pools"},
      {"plan", "a strategy without a key", With(plan, "/pools/0/strategy", ordered_json::object()),
       "#/pools/0/strategy", "missing key"},
      {"plan", "a short row", With(plan, "/pools/0/placement/rows/0", {1}), "#/pools/0/placement/rows/0",
       "expected 10"},
      {"plan", "a key that is none", With(plan, "/evaluation/metric", 1), "#/evaluation/metric",
       "did you mean \"metrics\"?"},
      {"plan", "no settings", With(plan, "/search/configuration", nullptr), "#/search", "configuration"},
      {"plan", "a negative seed", With(plan, "/search/seed", -1), "#/search/seed", "integer"},
      {"plan", "no evaluation", Without(plan, "evaluation"), "#", "missing key \"evaluation\""}};
  for (const BadFile& bad : rows) {
    SCOPED_TRACE(bad.mistake);
    const std::string path = Write("bad.json", bad.text);
    for (const char* command : {"check", "evaluate", "explain"}) {
      ExpectRefused({command, path}, {path + bad.place + ":", bad.remedy});
    }
  }
}

// ---- Flags, and output that cannot be written ----

TEST_F(BadInputs, DeploymentsAndTopologies) {
  const std::string eight = Write("eight.yaml", "model: meta-llama/Llama-3.1-8B\ntensor-parallel-size: 8\n");
  ExpectRefused({"evaluate", eight, "-c", "h100-sxm"}, {"--workload"});
  ExpectRefused({"evaluate", eight, "-w", "decode-chat"}, {"--cluster"});
  ExpectRefused({"evaluate", eight, "-c", "h100-sxm", "-w", "decode-chat", "-n", "4"}, {"--devices", "8 devices"});
  const std::string unknown = Write("unknown.yaml", "model: some/Model\ntensor-parallel-size: 8\n");
  ExpectRefused({"evaluate", unknown, "-c", "h100-sxm", "-w", "decode-chat"}, {"--model", "some/Model"});
  const std::string word = Write("word.yaml", "tp-size: many\ndp-size: 2\n");
  ExpectRefused({"evaluate", word, "-c", "h100-sxm", "-w", "decode-chat", "-m", "llama-3.1-8b"},
                {"word.yaml tp-size", "\"many\""});
  const std::string vast = Write("vast.yaml", "tp-size: 32768\npp-size: 32768\n");
  ExpectRefused({"evaluate", vast, "-c", "h100-sxm", "-w", "decode-chat", "-m", "llama-3.1-8b"}, {"at most 1048576"});
  const std::string dealt = Write("dealt.sh", "vllm serve Qwen/Qwen3-235B-A22B-FP8 -tp 8 --enable-expert-parallel");
  const std::string fp8 = Write("fp8.sh", "vllm serve Qwen/Qwen3-235B-A22B-FP8 -tp 8");
  ExpectRefused({"compare-plans", dealt, fp8, "-c", "h100-sxm", "-n", "8", "-w", "decode-chat", "-m", "qwen3-235b-a22b",
                 "--weight-dtype", "fp8", "--quant-block", "128"},
                {"fp8.sh", "vllm.fp8_blocks"});
  ExpectRefused({"compare-plans", eight}, {"files"});
  ExpectRefused({"import-cluster", eight, "--like", "h100-sxm"}, {"eight.yaml", "nvidia-smi topo -m"});
}

TEST_F(BadInputs, FlagsAndOutputs) {
  const Words search = {"search",      "-m",         "llama-3.1-8b", "-c",       "h100-sxm", "-w",
                        "decode-chat", "--searcher", "random",       "--budget", "5",        "--quiet"};
  Write("file", "");
  const std::vector<std::pair<Words, std::string>> rows = {
      {{"--devices", "0"}, "--devices"},
      {{"--devices", "-8"}, "--devices"},
      {{"--devices", "1e9"}, "--devices"},
      {{"--devices", "99999999999"}, "--devices"},
      {{"--devices", "1048577"}, "1048576"},
      {{"--memory-fraction", "2"}, "--memory-fraction"},
      {{"--memory-fraction", "nan"}, "--memory-fraction"},
      {{"--ttft", "-1s"}, "--ttft"},
      {{"--budget", "1e300"}, "--budget"},
      {{"--seed", "-1"}, "--seed"},
      {{"--threads", "100000"}, "--threads"},
      {{"--time-limit", "inf"}, "--time-limit"},
      {{"--config", "none.json"}, "--config"},
      {{"--model", Path("none.json")}, "--model"},
      {{"--cluster", "h100"}, "--cluster"},
      {{"--workload", Path("")}, "--workload"},
      {{"--fix", "tensor_parallel_size=0"}, "tensor_parallel_size"},
      {{"--for", "sglnag"}, "did you mean \"sglang\"?"},
      {{"--for", "vllm@0.1"}, "vllm@0.24"},
      {{"--fix", "shardings.q\x93=heads"}, "--fix shardings.q\\x93=heads: expected"},
      {{"--set", "annealing.patience=\xff"}, "--set annealing.patience=\\xff"},
      {{"--set", "annealing.patience=3"}, "does not use"},
      {{"--out", Path("no/plan.json")}, "create its folder first"},
      {{"--out", Path("file/plan.json")}, "Not a directory"},
      {{"--out", folder_.string()}, "Is a directory"},
      {{"--time-limit", "nan"}, "--time-limit"},
      {{"--tpot", "1e300"}, "--tpot"},
      {{"--tpot", "1e-400s"}, "--tpot"},
      {{"--out", "/dev/full", "--journal", Path("j")}, "free some space"},
      {{"--journal", "/dev/full"}, "free some space"},
      {{"--journal", Path("no/j")}, "folder"}};
  for (const auto& [flags, part] : rows) {
    SCOPED_TRACE(flags[0] + " " + flags[1]);
    Words words = search;
    words.insert(words.end(), flags.begin(), flags.end());
    const bool notes =
        flags.size() == 4;  // The journal of evaluations that were paid for stays: it is no partial file.
    if (notes) Write("j", "");
    ExpectRefused(words, {part});
    if (notes) fs::remove(Path("j"));
  }
}

TEST_F(BadInputs, AFullStandardOutput) {
  const ProcessResult result =
      RunProcess({"/bin/sh", "-c", "exec \"$0\" check --print-schema plan > /dev/full", SHARDSCOUT_CLI});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find("standard output: cannot be written"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace shardscout::test
