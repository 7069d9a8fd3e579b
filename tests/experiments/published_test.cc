#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "env/analytical/analytical_evaluator.h"
#include "experiments/validation/published_copies.h"
#include "experiments/validation/published_engine.h"
#include "experiments/validation/published_prediction.h"
#include "experiments/validation/published_record.h"
#include "experiments/validation/published_report.h"
#include "experiments/validation/published_setup.h"
#include "shardscout/error.h"

namespace shardscout::validation {
namespace {

/// A static batch of Llama-2-7B on one A100, in TensorRT-LLM's manner of 2023.
PublishedRecord BatchRecord() {
  PublishedRecord record;
  record.id = "r";
  record.phase = "e2e";
  record.model = "LLaMA 7B";
  record.framework = "TensorRT-LLM 0.9";
  record.hardware = "A100-SXM4 80GB";
  record.dtype = "FP16";
  record.load = "32";
  record.n_gpus = record.tensor_parallel = record.pipeline_parallel = record.expert_parallel = record.data_parallel = 1;
  record.input_tokens = 128;
  record.output_tokens = 21;
  record.metric = "output_tokens_per_s_total";
  record.value = 1000;
  return record;
}

std::string ErrorOf(const std::string& json) {
  try {
    ParsePublishedRecord(json, "m.jsonl:7");
  } catch (const SpecError& error) {
    return error.what();
  }
  return "";
}

TEST(PublishedRecord, ReadsWhatARecordHas) {
  const std::string path = ::testing::TempDir() + "shardscout_published.jsonl";
  std::ofstream(path) << R"({"id": "a", "group": "g", "group_kind": "ranking_same_gpus", "phase": "e2e", "model": "M",
)"
                      << "\n";
  EXPECT_THROW(ReadPublishedRecords(path), SpecError) << "a record is a line";
  std::ofstream(path)
      << R"({"id": "a", "phase": "e2e", "model": "M", "n_gpus": 8, "tp": 4, "pp": 2, "isl": 20, "osl": 8, )"
      << R"("batch_or_concurrency": 16, "metric": "latency_ms", "value": 565, "extra": {"memory_GB": 1}})"
      << "\n\n"
      << R"({"id": "b", "phase": "e2e", "isl": "ShareGPT", "batch_or_concurrency": "QPS 16", "metric": "x", )"
      << R"("value": 6.5})"
      << "\n"
      << R"({"id": "c", "phase": "collective", "metric": "y", "tp": "any"})"
      << "\n";
  const std::vector<PublishedRecord> records = ReadPublishedRecords(path);
  EXPECT_TRUE(HoldsPublishedRecords(path));
  std::remove(path.c_str());
  ASSERT_EQ(records.size(), 3U);
  EXPECT_EQ(records[0].n_gpus, 8);
  EXPECT_EQ(records[0].pipeline_parallel, 2);
  EXPECT_EQ(records[0].expert_parallel, std::nullopt);
  EXPECT_EQ(records[0].load, "16");
  EXPECT_DOUBLE_EQ(records[0].value, 565);
  EXPECT_EQ(records[0].memory_gib, 1);
  EXPECT_EQ(records[0].tflops_per_gpu, std::nullopt);
  EXPECT_EQ(records[1].input_tokens, std::nullopt) << "a data set";
  EXPECT_EQ(records[1].load, "QPS 16");
  EXPECT_FALSE(IsInference(records[2]));
}

TEST(PublishedRecord, ErrorsNamePlaceAndRemedy) {
  EXPECT_NE(ErrorOf("{").find("m.jsonl:7: not JSON"), std::string::npos) << ErrorOf("{");
  EXPECT_NE(ErrorOf("{").find("expected one object a line"), std::string::npos);
  EXPECT_NE(ErrorOf("[1]").find("expected an object"), std::string::npos);
  EXPECT_NE(ErrorOf(R"({"phase": "e2e", "metric": "latency_ms", "value": 1})").find("m.jsonl:7#/id"),
            std::string::npos);
  const std::string begin = R"({"id": "a", "phase": "e2e", "metric": "latency_ms", )";
  EXPECT_NE(ErrorOf(begin + R"("value": 1, "tp": 2.5})").find("m.jsonl:7#/tp: found 2.5, expected a whole number"),
            std::string::npos);
  EXPECT_NE(ErrorOf(begin + R"("value": -1})").find("m.jsonl:7#/value: found -1, expected a number above 0"),
            std::string::npos);
  EXPECT_NE(ErrorOf(begin + R"("value": 1, "model": 3})").find("m.jsonl:7#/model: found 3, expected a text"),
            std::string::npos);
  EXPECT_EQ(ErrorOf(R"({"id": "a", "phase": "e2e", "metric": "out_of_memory"})"), "") << "has no value";
}

TEST(PublishedEngine, TrtllmBenchBuildsAsItsTuningSays) {
  const ModelSpec model =
      LoadModel("llama-3.1-8b", {.weight_dtype = "fp8", .activation_dtype = "fp8", .kv_dtype = "fp8"});
  const DeviceSpec h100 = LoadCluster("h100-sxm").device;
  EngineLimits limits = TrtllmBenchLimits(model, h100, 1, 1, 1000, 1000);
  EXPECT_EQ(limits.max_running, 640);  // 564.4 requests, rounded up to a multiple of 128.
  EXPECT_EQ(limits.max_batched_tokens, 2048);
  EXPECT_TRUE(limits.cache.of == FractionOf::kFree && limits.whole_requests);
  limits = TrtllmBenchLimits(model, h100, 1, 1, 128, 128);
  EXPECT_EQ(limits.max_running, 4096);         // 4,409 would fit.
  EXPECT_EQ(limits.max_batched_tokens, 8192);  // 4,096 * (1 + 1).
  limits = TrtllmBenchLimits(model, h100, 1, 2, 1000, 1000);
  EXPECT_EQ(limits.max_running, 2 * 640);  // 1,187 over two stages: 594, so 640 a micro-batch.
  EXPECT_EQ(limits.max_batched_tokens, 2 * 2048);
  EXPECT_EQ(OfflineRequests(128, 128), 30000);
  EXPECT_EQ(OfflineRequests(123, 456), std::nullopt);
}

TEST(PublishedEngine, FasterTransformerHalvesMicrobatches) {
  EXPECT_EQ(FasterTransformerMicrobatches(64, 1, 1), 1);
  EXPECT_EQ(FasterTransformerMicrobatches(48, 20, 3), 3);   // 16 requests of 20 tokens: 320.
  EXPECT_EQ(FasterTransformerMicrobatches(48, 128, 3), 6);  // 16 * 128 = 2,048 > 1,024: halved.
  EXPECT_EQ(FasterTransformerMicrobatches(64, 1, 3), 1) << "3 does not divide 64";
  EXPECT_EQ(FasterTransformerMicrobatches(64, 60, 3), 4);  // 64 * 60 = 3,840, 1,920, 960.
}

/// 51,200 rows of 20,480: 2.10 GB, twice, of which the model counts a sixteenth.
TEST(PublishedEngine, FasterTransformerHoldsTheVocabularyTwice) {
  EXPECT_NEAR(FasterTransformerTableBytes(LoadModel("mt-nlg-530b"), 16), (2 - 1.0 / 16) * 2.097152e9, 1);
}

TEST(PublishedEngine, ReadsLoadsAndFlags) {
  PublishedRecord record = BatchRecord();
  std::string why_not;
  const auto load = [&](const std::string& framework, const std::string& text) {
    record.framework = framework;
    record.load = text;
    return LoadOf(record, why_not);
  };
  EXPECT_EQ(load("FasterTransformer 5.x", "16"), (Load{.requests = 16}));
  EXPECT_EQ(load("TensorRT-LLM 0.20", "16"), (Load{.kind = LoadKind::kConcurrency, .requests = 16}));
  EXPECT_EQ(load("vLLM", "QPS 2, 500 requests"), (Load{.kind = LoadKind::kRate, .requests = 500, .rate_per_s = 2}));
  EXPECT_EQ(load("vLLM", "QPS INF, 500 requests"), (Load{.kind = LoadKind::kAtOnce, .requests = 500}));
  EXPECT_EQ(load("vLLM", "lmsys trace, Poisson arrivals 0.5 req/s"),
            (Load{.kind = LoadKind::kRate, .requests = 1000, .rate_per_s = 0.5}));
  EXPECT_EQ(load("SGLang", "600 prompts at 40 req/s"),
            (Load{.kind = LoadKind::kRate, .requests = 600, .rate_per_s = 40}));
  EXPECT_EQ(load("vLLM", "1000 prompts, all at once / peak concurrency 1000"),
            (Load{.kind = LoadKind::kAtOnce, .requests = 1000}));
  EXPECT_EQ(load("vLLM", "1000 prompts, all at once / peak concurrency 31"), std::nullopt);
  EXPECT_NE(why_not.find("held prompts back"), std::string::npos);
  record.output_tokens = 128;
  EXPECT_EQ(load("TensorRT-LLM 0.17", "max throughput (offline)"),
            (Load{.kind = LoadKind::kAtOnce, .requests = 30000}));
  EXPECT_FALSE(load("vLLM", "max throughput")->stated);
  EXPECT_EQ(load("vLLM", "min latency"), std::nullopt);
  EXPECT_EQ(why_not, "load \"min latency\"");

  const DeviceSpec a100 = LoadCluster("a100-80-sxm").device, h100 = LoadCluster("h100-sxm").device;
  record.framework = "vLLM 0.11.0";
  EXPECT_EQ(ServingLimits(record, a100)->max_running, 256);
  EXPECT_EQ(ServingLimits(record, h100)->max_running, 1024);
  record.notes =
      "serving flags: vllm serve M --max-num-seqs=512 --max-num-batched-tokens 4096 "
      "--gpu-memory-utilization 0.85; hardware";
  const EngineLimits flags = *ServingLimits(record, h100);
  EXPECT_EQ(flags.max_running, 512);
  EXPECT_EQ(flags.max_batched_tokens, 4096);
  EXPECT_DOUBLE_EQ(flags.cache.memory_fraction, 0.85);
  record.framework = "MindIE";
  EXPECT_EQ(ServingLimits(record, h100), std::nullopt);
}

TEST(PublishedSetup, FindsPresetsBySpelling) {
  EXPECT_EQ(PublishedModelPreset("LLaMA v3.1 8B"), "llama-3.1-8b");
  EXPECT_EQ(PublishedModelPreset("Llama 3.3 70B"), "llama-3.1-70b");
  EXPECT_EQ(PublishedModelPreset("Megatron-Turing NLG 530B (105 layers, hidden 20480, 128 heads)"), "mt-nlg-530b");
  EXPECT_EQ(PublishedModelPreset("DeepSeek-V3/R1"), "deepseek-v3");
  EXPECT_EQ(PublishedModelPreset("zai-org/GLM-5-FP8"), "glm-5");
  EXPECT_EQ(PublishedModelPreset("GLM-5.2-FP8"), std::nullopt);
  EXPECT_EQ(PublishedModelPreset("Qwen3.5-9B"), std::nullopt);
  EXPECT_EQ(PublishedClusterPreset("H200-SXM 141GB"), "h200-sxm");
  EXPECT_EQ(PublishedClusterPreset("not stated"), std::nullopt);
}

TEST(PublishedSetup, MappingsAsSourcesMeanThem) {
  PublishedRecord record = BatchRecord();
  record.n_gpus = 8;
  std::vector<std::string> unstated;
  std::string why_not;
  const ModelSpec dense = LoadModel("llama-3.1-70b"), moe = LoadModel("deepseek-v3");
  record.tensor_parallel = 4;
  record.data_parallel = 2;
  EXPECT_EQ(LayoutOf(record, dense, unstated, why_not), (PoolLayout{.tensor_parallel = 4})) << "two replicas";
  record.tensor_parallel = 1;
  record.data_parallel = record.expert_parallel = 8;
  EXPECT_EQ(LayoutOf(record, moe, unstated, why_not),
            (PoolLayout{.attention_data_parallel = 8, .moe_expert_parallel = 8}));
  record.tensor_parallel = 8;
  record.expert_parallel = 1;
  record.other_parallelism = "SGLang DP attention inside the TP group (dp_size=8)";
  EXPECT_EQ(LayoutOf(record, moe, unstated, why_not),
            (PoolLayout{.attention_data_parallel = 8, .moe_tensor_parallel = 8}));
  EXPECT_TRUE(unstated.empty());
  record.other_parallelism = "";
  record.expert_parallel = std::nullopt;
  EXPECT_EQ(LayoutOf(record, moe, unstated, why_not),
            (PoolLayout{.attention_data_parallel = 8, .moe_expert_parallel = 8}));
  EXPECT_EQ(unstated, std::vector<std::string>{"expert parallelism"});
  record.expert_parallel = 3;
  EXPECT_EQ(LayoutOf(record, moe, unstated, why_not), std::nullopt);
  EXPECT_EQ(why_not, "EP 3 does not divide the stage's 8 GPUs");
  record.tensor_parallel = std::nullopt;
  EXPECT_EQ(LayoutOf(record, dense, unstated, why_not), std::nullopt);
}

TEST(PublishedSetup, NumberFormats) {
  PublishedRecord record = BatchRecord();
  record.dtype = "FP8";
  EXPECT_EQ(ModelInFormat("llama-2-7b", record)->kv_dtype, DType::kFp8) << "TensorRT-LLM";
  record.framework = "vLLM";
  EXPECT_EQ(ModelInFormat("llama-2-7b", record)->kv_dtype, DType::kFp16) << "as the preset";
  record.dtype = "FP4";
  const ModelSpec nvfp4 = *ModelInFormat("llama-2-7b", record);
  EXPECT_EQ(nvfp4.weight_dtype, DType::kMxfp4);
  EXPECT_EQ(nvfp4.weight_quant_block, 16);
  EXPECT_EQ(ModelInFormat("gpt-oss-20b", record)->weight_quant_block, 32) << "its own format";
  record.dtype = "4-bit";
  EXPECT_EQ(ModelInFormat("llama-2-7b", record), std::nullopt);
}

/// Throughput of a static batch: 32 requests of 21 tokens over a prefill of all of them and 20 steps.
TEST(PublishedPrediction, AStaticBatchIsAPrefillAndItsSteps) {
  const PublishedRecord record = BatchRecord();
  const PublishedPrediction prediction = Predict(record);
  ASSERT_TRUE(prediction.value) << prediction.reason;
  EXPECT_TRUE(prediction.fits);
  EXPECT_TRUE(prediction.unstated.empty());
  const ModelSpec model =
      LoadModel("llama-2-7b", {.weight_dtype = "fp16", .activation_dtype = "fp16", .kv_dtype = "fp16"});
  double seconds = 0;
  for (const WorkloadKind kind : {WorkloadKind::kPrefill, WorkloadKind::kDecode}) {
    WorkloadSpec workload;
    workload.kind = kind;
    workload.input_tokens = 128;
    workload.output_tokens = 21;  // Steps at position 128 + 10.
    workload.batch_size = 32;
    const Problem problem(model, LoadCluster("a100-80-sxm", 1), workload);
    Strategy strategy;
    strategy.batch_size = 32;
    const Metrics metrics = env::AnalyticalEvaluator(problem).Evaluate(strategy).metrics;
    seconds += kind == WorkloadKind::kPrefill ? metrics.ttft_s : 20 * metrics.tpot_s;
  }
  seconds += 21 * 32 * BatchEngineOf(record.framework).layer_gap_s;  // 21 passes through 32 layers.
  EXPECT_NEAR(*prediction.value, 32 * 21 / seconds, 1e-9 * *prediction.value);
  PublishedRecord latency = record;
  latency.metric = "latency_ms";
  EXPECT_NEAR(*Predict(latency).value, 1e3 * seconds, 1e-6 * seconds);
}

/// 6.74e9 parameters of 2 bytes are 13.5 GB, the runtime has 3.5 GB, and a request of 4,096 positions of 262,144
/// elements takes 2.15 GB: of 85.9 GB, 27 requests leave 11 GB to the prefill's activations, and 33 are too many
/// without any.
/// An engine's gap comes once for each layer that runs after another: 32 of one stage, and with two stages and four
/// micro-batches, (4 + 1) * 16.
TEST(PublishedPrediction, AnEngineOfStaticBatchesAddsToEachLayer) {
  PublishedRecord record = BatchRecord();
  record.framework = "FasterTransformer 5.x";
  const auto added_s = [&] {
    std::string why_not;
    const auto setup = SetupOf(record, why_not);
    EXPECT_TRUE(setup) << why_not;
    const auto without = PredictStaticBatch(record, *setup, {}, why_not);
    const auto with = PredictStaticBatch(record, *setup, {.layer_gap_s = 1e-3}, why_not);
    EXPECT_NEAR(with->latency_s, with->ttft_s + 20 * with->tpot_s, 1e-9);
    return std::pair(with->ttft_s - without->ttft_s, with->tpot_s - without->tpot_s);
  };
  EXPECT_NEAR(added_s().first, 32e-3, 1e-9);
  EXPECT_NEAR(added_s().second, 32e-3, 1e-9);
  record.n_gpus = record.pipeline_parallel = 2;
  record.load = "32";  // Prompts: two halves of 16 * 128 tokens, halved to 1,024. Steps: two halves.
  EXPECT_NEAR(added_s().first, (4 + 1) * 16e-3, 1e-9);
  EXPECT_NEAR(added_s().second, (2 + 1) * 16e-3, 1e-9);
  EXPECT_GT(BatchEngineOf("FasterTransformer 5.x").layer_gap_s, 0);
  EXPECT_EQ(BatchEngineOf("accelerate"), EngineModel{}) << "nothing was fitted";
}

TEST(PublishedPrediction, SeesWhatFits) {
  PublishedRecord record = BatchRecord();
  record.metric = "out_of_memory";
  record.input_tokens = record.output_tokens = 2048;
  record.load = "27";
  PublishedPrediction prediction = Predict(record);
  EXPECT_EQ(prediction.reason, "");
  EXPECT_TRUE(prediction.fits);
  record.load = "33";
  prediction = Predict(record);
  EXPECT_EQ(prediction.reason, "");
  EXPECT_FALSE(prediction.fits);
  EXPECT_FALSE(prediction.value);
}

/// What all requests make together lies between their weights' reads and a queue of one after the other.
TEST(PublishedPrediction, AllAtOnceUnderAnEnginesLimits) {
  PublishedRecord record = BatchRecord();
  record.framework = "vLLM 0.11.0";
  record.load = "100 prompts, all at once / peak concurrency 100";
  const PublishedPrediction all = Predict(record);
  ASSERT_TRUE(all.value) << all.reason;
  record.notes = "--max-num-seqs 1";
  const PublishedPrediction one = Predict(record);
  ASSERT_TRUE(one.value) << one.reason;
  EXPECT_GT(*all.value, 10 * *one.value);
  record.metric = "requests_per_s";
  EXPECT_NEAR(*Predict(record).value, *one.value / 21, 1e-9);
  record.metric = "bananas_per_s";
  EXPECT_EQ(Predict(record).reason, "metric bananas_per_s");
  record.metric = "requests_per_s";
  record.notes = "--speculative-algorithm EAGLE3";
  EXPECT_EQ(Predict(record).reason, "speculative decoding");
}

/// Three figures of one model that stand under two kinds of hardware are no chance; two are, and round figures.
TEST(PublishedReport, FindsFiguresThatWereCopied) {
  std::vector<PublishedRecord> records;
  const auto add = [&](const std::string& model, const std::string& hardware, std::int64_t input_tokens, double value) {
    PublishedRecord record = BatchRecord();
    record.model = model;
    record.hardware = hardware;
    record.input_tokens = input_tokens;
    record.value = value;
    records.push_back(record);
  };
  for (const char* hardware : {"A100-SXM4 80GB", "H100-SXM 80GB"}) {
    add("copied", hardware, 128, 330.75);
    add("copied", hardware, 256, 20.02);
    add("copied", hardware, 512, 411.83);
    add("copied", hardware, 1024, 4500);  // Two digits.
    add("chance", hardware, 128, 330.75);
    add("chance", hardware, 256, 20.02);
  }
  add("copied", "H200-SXM 141GB", 128, 330.76);
  records.push_back(records.front());  // The same hardware again.
  const Copies copies = FindCopies(records);
  ASSERT_EQ(copies.evidence.size(), 1u);
  EXPECT_EQ(copies.evidence.front().model, "copied");
  EXPECT_EQ(copies.evidence.front().other_hardware, "H100-SXM 80GB");
  EXPECT_EQ(copies.evidence.front().records, 7u);
  const std::vector<bool> expected = {true, true, true,  false, false, false, true,
                                      true, true, false, false, false, false, true};
  EXPECT_EQ(copies.shown, expected);
  for (PublishedRecord& record : records) record.data_parallel = record.hardware.size();
  EXPECT_TRUE(FindCopies(records).evidence.empty()) << "other mappings";
}

TEST(PublishedReport, RanksMappingsOfAGroup) {
  std::vector<PublishedRecord> records(5, BatchRecord());
  std::vector<PublishedPrediction> predictions(5);
  const double measured[] = {100, 200, 400, 420, 50}, predicted[] = {110, 90, 500, 300, 60};
  for (std::size_t i = 0; i < records.size(); ++i) {
    records[i].group = "g";
    records[i].group_kind = i < 4 ? "ranking_same_gpus" : "ranking_scaling";
    records[i].tensor_parallel = i < 2 ? 1 << i : 4;  // The third and the fourth are one mapping.
    records[i].value = measured[i];
    predictions[i].value = predicted[i];
  }
  const RankingSummary ranking = RankingOf(records, predictions);
  EXPECT_EQ(ranking.groups, 1U);
  EXPECT_NEAR(ranking.mean_tau, 1.0 / 3, 1e-12) << "of three pairs, one is the other way round";
  EXPECT_EQ(ranking.chosen_best, 1U);
  EXPECT_DOUBLE_EQ(ranking.mean_regret, 0);

  predictions[0].fits = false;
  records[4].metric = "out_of_memory";
  predictions[4].value = std::nullopt;
  predictions[4].fits = false;
  const FitSummary fits = FitsOf(records, predictions);
  EXPECT_EQ(fits.out_of_memory, 1U);
  EXPECT_EQ(fits.predicted_so, 1U);
  EXPECT_EQ(fits.ran, 4U);
  EXPECT_EQ(fits.wrongly_infeasible, 1U);

  predictions[1].value = std::nullopt;
  predictions[1].reason = "no preset of the model M";
  predictions[2].unstated = {"dtype"};
  std::ostringstream out;
  PrintPublished(out, records, predictions);
  EXPECT_NE(out.str().find("     1  no preset of the model M"), std::string::npos) << out.str();
  EXPECT_NE(PublishedCsv(records, predictions).find("dtype"), std::string::npos);
}

}  // namespace
}  // namespace shardscout::validation
