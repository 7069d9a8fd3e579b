// The command line as a user meets it: the built program, its streams, its files and its exit codes.

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "shardscout/preset_paths.h"
#include "tests/cli/cli_fixture.h"

namespace shardscout::test {
namespace {

namespace fs = std::filesystem;

TEST_F(Cli, VersionAndHelp) {
  const ProcessResult version = Run({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_TRUE(version.out.starts_with("shardscout ")) << version.out;
  for (const char* command : {"search", "compare", "evaluate", "explain", "export", "list", "check"}) {
    const ProcessResult help = Run({command, "--help"});
    EXPECT_EQ(help.exit_code, 0) << command;
    EXPECT_EQ(help.err, "") << command;
    EXPECT_NE(help.out.find("shardscout " + std::string(command)), std::string::npos) << "an example of " << command;
  }
}

/// The program alone, without the module of the agents beside it.
TEST_F(Cli, WithoutItsAgentsItSearchesOtherwise) {
  std::filesystem::copy_file(SHARDSCOUT_CLI, Path("shardscout"));
  const Words problem = {"--model",    "llama-3.1-8b", "--cluster", "h100-sxm", "--devices", "8",
                         "--workload", "decode-chat",  "--budget",  "16",       "--quiet"};
  const auto search = [&](const std::string& searcher) {
    Words words = {Path("shardscout"), "search", "--searcher", searcher};
    words.insert(words.end(), problem.begin(), problem.end());
    return RunProcess(words);
  };
  EXPECT_EQ(search("random").exit_code, 0);
  if (Run({"list", "searchers"}).out.find("ppo") == std::string::npos) GTEST_SKIP() << "built without agents";
  ExpectUserError(search("ppo"), "learning agents");
}

TEST_F(Cli, ListsEverything) {
  const ProcessResult text = Run({"list"});
  EXPECT_EQ(text.exit_code, 0);
  const ProcessResult result = Run({"list", "--json"});
  ASSERT_EQ(result.exit_code, 0);
  const auto json = nlohmann::json::parse(result.out);
  for (const char* kind :
       {"models", "clusters", "workloads", "engines", "suites", "searchers", "evaluators", "exporters"}) {
    ASSERT_TRUE(json.contains(kind));
    EXPECT_FALSE(json[kind].empty()) << kind;
    for (const auto& row : json[kind]) {
      EXPECT_NE(text.out.find(row["name"].get<std::string>()), std::string::npos) << row["name"];
    }
  }
  EXPECT_EQ(nlohmann::json::parse(Run({"list", "models", "--json"}).out).size(), 1u);
}

TEST_F(Cli, SearchWritesAPlanAndSaysWhatItFound) {
  const ProcessResult result = Run(Search({"--out", Path("plan.json"), "--top", "5"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  for (const char* part : {"space ", "strategies", "Megatron ", "x the Megatron rule", "TPOT", "rank", "plan "}) {
    EXPECT_NE(result.out.find(part), std::string::npos) << part << "\n" << result.out;
  }
  EXPECT_EQ(result.out.find('\r'), std::string::npos);
  EXPECT_EQ(result.err.find('\r'), std::string::npos) << "progress without a terminal";
  EXPECT_EQ(nlohmann::json::parse(Read(Path("plan.json")))["search"]["evaluations"], 300);
  EXPECT_EQ(NumLines(Path("plan.journal.jsonl")), 301);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 2);
}

TEST_F(Cli, JsonIsOneObjectOnStdout) {
  const ProcessResult result = Run(Search({"--json", "--top", "3", "--quiet"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json["evaluations"], 300);
  EXPECT_EQ(json["top"].size(), 3u);
  EXPECT_EQ(json["top"][0], json["best"]);
  EXPECT_TRUE(json["best"]["feasible"]);
  EXPECT_TRUE(json["plan"].is_null());
}

TEST_F(Cli, TheSameCommandTwiceIsTheSamePlanByteForByte) {
  ASSERT_EQ(Run(Search({"-o", Path("a.json")})).exit_code, 0);
  ASSERT_EQ(Run(Search({"-o", Path("b.json")})).exit_code, 0);
  ASSERT_EQ(Run(Search({"-o", Path("c.json")}), {{"OMP_NUM_THREADS", "1"}}).exit_code, 0);
  ASSERT_EQ(Run(Search({"-o", Path("d.json")}), {{"OMP_NUM_THREADS", "2"}}).exit_code, 0);
  ASSERT_EQ(Run(Search({"-o", Path("e.json"), "--threads", "3"})).exit_code, 0);
  const std::string first = Read(Path("a.json"));
  EXPECT_NE(first, "");
  for (const char* name : {"b.json", "c.json", "d.json", "e.json"}) EXPECT_EQ(Read(Path(name)), first) << name;
}

TEST_F(Cli, KilledAndResumedIsTheSamePlanAndNothingIsPaidTwice) {
  const Words budget = {"--budget", "20000"};
  Words whole = Search(budget), broken = Search(budget);
  whole.insert(whole.end(), {"-o", Path("whole.json")});
  broken.insert(broken.end(), {"-o", Path("broken.json"), "--json"});
  ASSERT_EQ(Run(whole).exit_code, 0);

  const std::string journal = Path("broken.journal.jsonl");
  const ProcessResult killed = Run(broken, {}, [&] { return NumLines(journal) > 100 ? SIGKILL : 0; });
  ASSERT_EQ(killed.signal, SIGKILL) << "it ended before it could be killed";
  EXPECT_FALSE(fs::exists(Path("broken.json")));
  const std::ptrdiff_t paid = NumLines(journal) - 1;

  broken.push_back("--resume");
  const ProcessResult resumed = Run(broken);
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(Read(Path("broken.json")), Read(Path("whole.json")));
  EXPECT_GE(nlohmann::json::parse(resumed.out)["replayed"].get<std::ptrdiff_t>(), paid - 1);
  EXPECT_EQ(NumLines(journal), 20001) << "an evaluation was paid twice";
}

TEST_F(Cli, InterruptedWritesTheBestPlanSoFar) {
  const std::string journal = Path("plan.journal.jsonl");
  Words words = Search({"--budget", "10000000", "-o", Path("plan.json"), "--json"});
  const ProcessResult result = Run(words, {}, [&] { return NumLines(journal) > 300 ? SIGINT : 0; });
  EXPECT_EQ(result.exit_code, 130) << result.err;
  EXPECT_EQ(nlohmann::json::parse(result.out)["status"], "interrupted");
  EXPECT_EQ(nlohmann::json::parse(Read(Path("plan.json")))["search"]["status"], "interrupted");
}

TEST_F(Cli, UserErrorsAreOneLineWithARemedy) {
  ExpectUserError(Run({"search", "--model", "lama-3.1-8b", "--cluster", "h100-sxm", "--workload", "decode-chat"}),
                  "llama-3.1-8b");
  ExpectUserError(Run({"search", "--cluster", "h100-sxm", "--workload", "decode-chat"}), "--model");
  ExpectUserError(Run(Search({"--bugdet", "3"})), "did you mean --budget");
  ExpectUserError(Run(Search({"--budget", "0"})), "--budget");
  ExpectUserError(Run(Search({"--set", "annealing.patince=2"})), "patience");
  ExpectUserError(Run(Search({"--set", "patience=2"})), "searcher.setting=value");
  ExpectUserError(Run(Search({"--fix", "tensor_paralel_size=8"})), "tensor_parallel_size");
  ExpectUserError(Run(Search({"--fix", "tensor_parallel_size"})), "--fix");
  ExpectUserError(Run(Search({"--tpot", "fast"})), "--tpot");
  ExpectUserError(Run(Search({"--ttft", "2s"})), "--ttft");
  ExpectUserError(Run(Search({"--objective", "throughput"})), "throughput_per_device");
  ExpectUserError(Run(Search({"--start", "here"})), "none or megatron");
  ExpectUserError(Run(Search({"--resume"})), "--out");
  ExpectUserError(Run(Search({"--searcher", "anneling"})), "annealing");
  ExpectUserError(Run(Search({"--evaluator", "guess"})), "analytical");
  ExpectUserError(Run(Search({"--out", Path("missing/plan.json")})), "create its folder");
  ExpectUserError(Run({"list", "planets"}), "planets");
  ExpectUserError(Run({}), "--help");
  ExpectUserError(Run({"export", Path("none.json"), "--to", "vllm"}), "none.json");
}

TEST_F(Cli, AFullDiskIsAUserErrorAndLeavesNothing) {
  const ProcessResult result = Run(Search({"--out", "/dev/full", "--quiet"}));
  ExpectUserError(result, "free some space");
}

TEST_F(Cli, InfeasibleSaysWhatWouldHelp) {
  const ProcessResult result = Run({"search", "--model", "llama-3.1-405b", "--cluster", "h100-sxm", "--devices", "8",
                                    "--workload", "decode-chat", "--weight-dtype", "bf16", "--searcher", "annealing",
                                    "--budget", "200", "--out", Path("plan.json")});
  EXPECT_EQ(result.exit_code, 3) << result.out;
  for (const char* part : {"nearest", "breaks", "relax", "are sufficient", "megatron-tuned"}) {
    EXPECT_NE(result.err.find(part), std::string::npos) << part << "\n" << result.err;
  }
  EXPECT_FALSE(fs::exists(Path("plan.json")));
}

TEST_F(Cli, EvaluateAndExplainTakePlansAndStrategies) {
  ASSERT_EQ(Run(Search({"--out", Path("plan.json")})).exit_code, 0);
  const auto plan = nlohmann::ordered_json::parse(Read(Path("plan.json")));
  std::ofstream(Path("s.json")) << plan["pools"][0]["strategy"];
  const Words problem = {"--model", "llama-3.1-8b", "--cluster",  "h100-sxm", "--devices",
                         "8",       "--workload",   "decode-chat"};
  Words by_strategy = {"evaluate", "--strategy", Path("s.json"), "--json"};
  by_strategy.insert(by_strategy.end(), problem.begin(), problem.end());

  const ProcessResult of_plan = Run({"evaluate", Path("plan.json"), "--json"});
  ASSERT_EQ(of_plan.exit_code, 0) << of_plan.err;
  const auto json = nlohmann::ordered_json::parse(of_plan.out);
  EXPECT_EQ(json["strategy"]["evaluation"]["metrics"], plan["evaluation"]["metrics"]);
  EXPECT_GT(json["megatron"]["objective"], 0);
  EXPECT_EQ(nlohmann::ordered_json::parse(Run(by_strategy).out), json);

  const ProcessResult explained = Run({"explain", Path("plan.json")});
  ASSERT_EQ(explained.exit_code, 0) << explained.err;
  for (const char* part : {"attention", "memory on a device", "KV cache", "bytes that a device puts on each tier",
                           "curves    of kernels: fitted to the tables of h100_sxm"}) {
    EXPECT_NE(explained.out.find(part), std::string::npos) << part << "\n" << explained.out;
  }
  ExpectUserError(Run({"evaluate", Path("s.json")}), "--model");
}

TEST_F(Cli, TheSimulatorSearchesAndTraces) {
  const Words problem = {"--model", "qwen3-30b-a3b", "--cluster", "h100-sxm", "--workload", "decode-chat"};
  Words search = {"search",    "--searcher",     "random-walk", "--budget",        "60",     "--evaluator", "simulator",
                  "--overlap", "none,two_batch", "--out",       Path("plan.json"), "--quiet"};
  search.insert(search.end(), problem.begin(), problem.end());
  ASSERT_EQ(Run(search).exit_code, 0);
  const Words traced = {"evaluate", Path("plan.json"), "--evaluator", "simulator", "--trace", Path("trace.json")};
  const ProcessResult result = Run(traced);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err.find("another evaluation"), std::string::npos) << "the plan's own figure";
  const auto trace = nlohmann::json::parse(Read(Path("trace.json")));
  EXPECT_GT(trace["traceEvents"].size(), 100u);
  EXPECT_EQ(Run({"explain", Path("plan.json"), "--evaluator", "simulator"}).exit_code, 0);
  ExpectUserError(Run({"evaluate", Path("plan.json"), "--trace", Path("x.json")}), "--evaluator simulator");
  ExpectUserError(Run({"evaluate", Path("plan.json"), "--evaluator", "simulator", "--trace", "/none/x.json"}),
                  "create its folder first");
  search[8] = "three_batch";
  ExpectUserError(Run(search), "--overlap");
}

TEST_F(Cli, AnEngineAddsToItsDevicesInEverySearch) {
  Words search = {"search",     "--model",        "llama-3.1-8b", "--cluster",  "h100-sxm", "--workload",
                  "serve-chat", "--tpot",         "none",         "--ttft",     "none",     "--devices",
                  "2",          "--concurrency",  "32",           "--searcher", "exact",    "--quiet",
                  "--out",      Path("plan.json")};
  const auto metrics = [&] { return nlohmann::json::parse(Read(Path("plan.json")))["evaluation"]["metrics"]; };
  ASSERT_EQ(Run(search).exit_code, 0);
  const double alone_s = metrics()["tpot_s"], alone_ttft_s = metrics()["ttft_s"];
  search.insert(search.end(), {"--engine", "vllm"});
  const ProcessResult result = Run(search);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_GT(metrics()["tpot_s"], alone_s);
  EXPECT_GT(metrics()["ttft_s"], alone_ttft_s);
  const auto plan = nlohmann::json::parse(Read(Path("plan.json")));
  EXPECT_EQ(plan["problem"]["spec"]["workload"]["engine"]["name"], "vllm");
  EXPECT_NE(Run({"explain", Path("plan.json")}).out.find("concurrency 32, engine vllm"), std::string::npos);
  search.back() = "vlm";
  ExpectUserError(Run(search), "did you mean \"vllm\"");
}

TEST_F(Cli, ExplainSaysWhatEachDifferenceEarns) {
  // tp 2 with a token-sharded residual stream: not Megatron's choice for a dense model.
  ASSERT_EQ(Run(Search({"--out", Path("plan.json"), "--fix", "tensor_parallel_size=2", "--fix",
                        "residual_layout=token_sharded"}))
                .exit_code,
            0);
  const Words problem = {"-m", "llama-3.1-8b", "-c", "h100-sxm", "-n", "8", "-w", "decode-chat"};
  const auto explain = [&](const Words& more) {
    Words words = {"explain", Path("plan.json")};
    words.insert(words.end(), problem.begin(), problem.end());
    words.insert(words.end(), more.begin(), more.end());
    return Run(words);
  };
  const ProcessResult result = explain({"--against", "megatron", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json["against"]["reward"], 1);
  EXPECT_NEAR(json["difference"]["earns"].get<double>(), json["strategy"]["reward"].get<double>(), 1e-9);
  bool has_layout = false;
  for (const auto& row : json["difference"]["variables"]) {
    EXPECT_NE(row["here"], row["there"]);
    if (row["variable"] != "residual_layout") continue;
    has_layout = true;
    EXPECT_EQ(row["here"], "token_sharded");
    EXPECT_EQ(row["there"], "replicated");
    EXPECT_EQ(row["back"]["strategy"]["residual_layout"], "replicated");
    EXPECT_EQ(row["back"]["strategy"]["tensor_parallel_size"], 2);
  }
  EXPECT_TRUE(has_layout);

  const ProcessResult text = explain({"--against", "megatron-tuned"});
  ASSERT_EQ(text.exit_code, 0) << text.err;
  for (const char* part : {"x as good as that of megatron-tuned", "setting it back", "residual_layout", "earns"}) {
    EXPECT_NE(text.out.find(part), std::string::npos) << part << "\n" << text.out;
  }
  const ProcessResult same = explain({"--against", Path("plan.json")});
  EXPECT_NE(same.out.find("are the same"), std::string::npos) << same.out << same.err;
  ExpectUserError(explain({"--against", "megatrom"}), "expected megatron, megatron-tuned");
  // A strategy that the plan's own problem, with what it fixes, does not have.
  auto other = nlohmann::ordered_json::parse(Read(Path("plan.json")))["pools"][0]["strategy"];
  other["residual_layout"] = "replicated";
  std::ofstream(Path("s.json")) << other;
  ExpectUserError(Run({"explain", Path("plan.json"), "--against", Path("s.json")}),
                  Path("s.json") + ": residual_layout");
}

TEST_F(Cli, EvaluateSaysWhichRuleAStrategyBreaks) {
  ASSERT_EQ(Run(Search({"--out", Path("plan.json")})).exit_code, 0);
  auto strategy = nlohmann::ordered_json::parse(Read(Path("plan.json")))["pools"][0]["strategy"];
  strategy["tensor_parallel_size"] = 3;
  std::ofstream(Path("s.json")) << strategy;
  ExpectUserError(
      Run({"evaluate", Path("s.json"), "-m", "llama-3.1-8b", "-c", "h100-sxm", "-n", "8", "-w", "decode-chat"}),
      "strategy");
  strategy["tensor_paralel_size"] = 3;
  std::ofstream(Path("s.json")) << strategy;
  ExpectUserError(
      Run({"evaluate", Path("s.json"), "-m", "llama-3.1-8b", "-c", "h100-sxm", "-n", "8", "-w", "decode-chat"}),
      "tensor_parallel_size");
}

TEST_F(Cli, ASearchEndsAtTheGapThatWasAskedFor) {
  const ProcessResult result = Run(Search({"--until-gap", "5%", "--out", Path("plan.json")}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("gap_reached"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("from the optimum (bound"), std::string::npos) << result.out;
  const auto plan = nlohmann::json::parse(Read(Path("plan.json")));
  EXPECT_EQ(plan["search"]["status"], "gap_reached");
  EXPECT_EQ(plan["search"]["until_gap"], 0.05);
  EXPECT_LE(plan["certificate"]["gap"], 0.05);
  EXPECT_LT(plan["search"]["evaluations"], 300);
  ExpectUserError(Run(Search({"--until-gap", "much"})), "1%");
  ExpectUserError(Run(Search({"--until-gap", "1%", "--evaluator", "simulator"})), "no bound is known");
}

TEST_F(Cli, TrainingIsProvedUnlessAnotherSearcherIsNamed) {
  const auto searcher_of = [&](const Words& more) {
    Words words = {"search",     "--model",  "llama-3.1-8b",   "--cluster", "h100-sxm", "--devices", "8",
                   "--workload", "train-4k", "--global-batch", "64",        "--budget", "20",        "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const ProcessResult result = Run(words);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const auto report = nlohmann::json::parse(result.out, nullptr, false);
    return std::pair(report.value("searcher", ""), report.contains("certificate") && !report["certificate"].is_null());
  };
  EXPECT_EQ(searcher_of({}), std::pair(std::string("exact"), true));
  EXPECT_EQ(searcher_of({"--searcher", "local-search"}), std::pair(std::string("local-search"), false));
  EXPECT_NE(searcher_of({"--evaluator", "simulator"}).first, "exact");
}

TEST_F(Cli, ACheapEvaluatorScreensForADearOne) {
  const Words search = Search({"--evaluator", "simulator", "--budget", "20", "--screen", "analytical",
                               "--screen-budget", "200", "--screen-keep", "5", "--out", Path("plan.json")});
  const ProcessResult result = Run(search);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(
      result.out.find("screen    analytical, annealing: budget_exhausted after 200 of 200 evaluations, free; its 5 "
                      "best came first"),
      std::string::npos)
      << result.out;
  EXPECT_NE(result.out.find("after 20 of 20 evaluations"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("          analytical says "), std::string::npos) << result.out;
  EXPECT_NE(Read(Path("plan.json")).find("\"screen\""), std::string::npos);
  EXPECT_EQ(Run({"check", Path("plan.json")}).exit_code, 0);
  ExpectUserError(Run(Search({"--screen", "analytical"})), "--screen");
  ExpectUserError(Run(Search({"--screen", "analytic", "--evaluator", "simulator"})), "analytical");
  ExpectUserError(Run(Search({"--screen-searcher", "exact"})), "--screen-searcher");
}

TEST_F(Cli, TwoPlansBecomeOneOfTwoPools) {
  const auto plan = [&](const std::string& workload, const std::string& devices) {
    const Words words = {"search",
                         "--model",
                         "llama-3.1-8b",
                         "--cluster",
                         "h100-sxm",
                         "--devices",
                         devices,
                         "--workload",
                         workload,
                         "--searcher",
                         "megatron-tuned",
                         "--out",
                         Path(workload + ".json")};
    EXPECT_EQ(Run(words).exit_code, 0);
    return Path(workload + ".json");
  };
  const std::string prefill = plan("prefill-chat", "2"), decode = plan("decode-chat", "4");
  const std::string workload = SHARDSCOUT_TEST_CONFIGS "/../docs/chat-poisson.json";
  const ProcessResult joined = Run({"join", prefill, decode, "--workload", workload, "--out", Path("two.json")});
  EXPECT_EQ(joined.exit_code, 0) << joined.err << joined.out;
  EXPECT_NE(joined.out.find("pool      prefill, "), std::string::npos) << joined.out;
  EXPECT_NE(joined.out.find("pool      decode, "), std::string::npos);
  EXPECT_NE(joined.out.find("requests    "), std::string::npos);
  const ProcessResult again = Run({"evaluate", Path("two.json"), "--evaluator", "simulator"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(joined.out.substr(0, again.out.size()), again.out);
  EXPECT_EQ(Run({"check", Path("two.json")}).exit_code, 0);
  ExpectUserError(Run({"evaluate", Path("two.json")}), "--evaluator simulator");
  ExpectUserError(Run({"explain", Path("two.json")}), "2 pools");
  ExpectUserError(Run({"export", Path("two.json"), "--to", "vllm"}), "2 pools");
  const ProcessResult pools = Run({"export", Path("two.json"), "--to", "kserve", "--lower", "--out", folder_.string()});
  EXPECT_EQ(pools.exit_code, 0) << pools.err;
  EXPECT_EQ(Run({"evaluate", Path("kserve.yaml"), "--cluster", "h100-sxm", "--workload", "decode-chat"}).exit_code, 0);
  ExpectUserError(Run({"join", decode, prefill, "--workload", workload}), "expected prefill or serve");
  EXPECT_EQ(Run({"join", prefill, decode, "--workload", "serve-chat", "--out", Path("closed.json")}).exit_code, 0);
  EXPECT_EQ(Run({"evaluate", Path("closed.json")}).exit_code, 0);
  ExpectUserError(Run({"evaluate", Path("closed.json"), "--evaluator", "simulator"}), "--evaluator analytical");
  ExpectUserError(Run({"join", prefill, Path("two.json"), "--workload", workload}), "expected one");
}

/// A user's question: how many devices for prompts, how many for decoding?
TEST_F(Cli, DividesAClusterByTheWork) {
  const auto divide = [&](const char* input, const char* output, const Words& more = {}) {
    Words words = {"divide",     "--model",    "llama-3.1-8b", "--cluster", "h100-sxm", "--devices", "8",
                   "--workload", "serve-chat", "--isl",        input,       "--osl",    output};
    words.insert(words.end(), more.begin(), more.end());
    return Run(words);
  };
  const ProcessResult prompts = divide("8192", "512", {"--json", "--out", Path("two.json")});
  ASSERT_EQ(prompts.exit_code, 0) << prompts.err;
  const ProcessResult outputs = divide("1024", "4096", {"--json"});
  ASSERT_EQ(outputs.exit_code, 0) << outputs.err;
  const auto of_prompts = nlohmann::json::parse(prompts.out), of_outputs = nlohmann::json::parse(outputs.out);
  EXPECT_TRUE(of_prompts.at("proved"));
  EXPECT_GT(of_prompts.at("prefill_devices"), of_outputs.at("prefill_devices"));
  EXPECT_GT(of_prompts.at("one_pool").at("evaluation").at("metrics").at("throughput_per_device"), 0);
  const ProcessResult again = Run({"evaluate", Path("two.json"), "--json"});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(nlohmann::json::parse(again.out).at("evaluation"), of_prompts.at("evaluation"));
  const ProcessResult text = divide("1024", "512");
  EXPECT_NE(text.out.find("one pool  "), std::string::npos) << text.out;
  EXPECT_EQ(divide("1024", "512", {"--ttft", "0.001ms"}).exit_code, 3);
  ExpectUserError(divide("1024", "512", {"--concurrency", "8"}), "leave it out");
}

TEST_F(Cli, ComparePutsSearchersInOneTable) {
  const Words words = {"compare",    "--searchers",  "megatron,random,annealing",
                       "--model",    "llama-3.1-8b", "--cluster",
                       "h100-sxm",   "--devices",    "8",
                       "--workload", "decode-chat",  "--budget",
                       "200",        "--out",        Path("plan.json")};
  const ProcessResult text = Run(words);
  ASSERT_EQ(text.exit_code, 0) << text.err;
  EXPECT_NE(text.out.find("One seed (1)"), std::string::npos) << text.out;
  Words json_words = words;
  json_words.push_back("--json");
  const auto json = nlohmann::json::parse(Run(json_words).out);
  ASSERT_EQ(json["searchers"].size(), 3u);
  double best = 0;
  for (const auto& row : json["searchers"]) best = std::max(best, row["best"]["reward"].get<double>());
  EXPECT_EQ(nlohmann::json::parse(Read(Path("plan.json")))["search"]["reward"], best);
  EXPECT_TRUE(fs::exists(Path("plan.annealing.journal.jsonl")));
}

TEST_F(Cli, ExportRefusesWhatVllmCannotRunUnlessLowered) {
  // A feature-sharded residual stream: no framework's option.
  ASSERT_EQ(Run(Search({"--out", Path("plan.json"), "--fix", "tensor_parallel_size=2", "--fix",
                        "residual_layout=feature_sharded", "--fix", "context_parallel_size=1"}))
                .exit_code,
            0);
  const ProcessResult refused = Run({"export", Path("plan.json"), "--to", "vllm", "--out", folder_.string()});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.err.find("residual_layout = feature_sharded"), std::string::npos) << refused.err;
  EXPECT_NE(refused.err.find("predicted"), std::string::npos) << refused.err;
  EXPECT_FALSE(fs::exists(Path("vllm.yaml")));

  const ProcessResult lowered =
      Run({"export", Path("plan.json"), "--to", "vllm", "--out", folder_.string(), "--lower"});
  ASSERT_EQ(lowered.exit_code, 0) << lowered.err;
  EXPECT_NE(lowered.out.find("vllm serve --config vllm.yaml"), std::string::npos);
  EXPECT_NE(lowered.out.find("predicted"), std::string::npos);
  EXPECT_NE(Read(Path("vllm.yaml")).find("tensor-parallel-size: 2"), std::string::npos);
}

TEST_F(Cli, ExportWritesATraceARank) {
  ASSERT_EQ(Run(Search({"--out", Path("plan.json"), "--fix", "tensor_parallel_size=2", "--fix",
                        "pipeline_parallel_size=2", "--fix", "context_parallel_size=1"}))
                .exit_code,
            0);
  const ProcessResult result =
      Run({"export", Path("plan.json"), "--to", "chakra", "--out", folder_.string(), "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json["target"], "chakra@0.0.4");
  EXPECT_EQ(json["dropped"].size(), 0u);
  EXPECT_EQ(json["lowered"], nlohmann::json::parse(Read(Path("plan.json")))["pools"][0]["strategy"]);
  EXPECT_NE(json["command"].get<std::string>().find("--workload-configuration=decode"), std::string::npos);
  for (const char* name :
       {"decode.0.et", "decode.3.et", "comm_groups.json", "network.yml", "system.json", "remote_memory.json"}) {
    EXPECT_TRUE(fs::exists(Path(name))) << name;
  }
  EXPECT_FALSE(fs::exists(Path("decode.4.et")));
  EXPECT_EQ(Read(Path("decode.3.et")).substr(1, 7),
            "\n\x05"
            "0.0.4")
      << "the version, after a length of one byte";
}

TEST_F(Cli, FixedVariablesHold) {
  const ProcessResult result = Run(Search({"--fix", "tensor_parallel_size=4", "--fix", "batch_size=32", "--json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto strategy = nlohmann::json::parse(result.out)["best"]["strategy"];
  EXPECT_EQ(strategy["tensor_parallel_size"], 4);
  EXPECT_EQ(strategy["batch_size"], 32);
}

TEST_F(Cli, CheckTellsTheKindOfEachFileAndItsFirstMistake) {
  const std::string clusters = PresetDirectory("clusters");
  const std::string workloads = PresetDirectory("workloads");
  const ProcessResult good = Run({"check", clusters + "/h100-sxm.json", workloads + "/decode-chat.json"});
  EXPECT_EQ(good.exit_code, 0) << good.err;
  EXPECT_EQ(good.out, clusters + "/h100-sxm.json: cluster\n" + workloads + "/decode-chat.json: workload\n");
  EXPECT_EQ(good.err, "");

  auto cluster = nlohmann::ordered_json::parse(Read(clusters + "/h100-sxm.json"));
  cluster["tiers"][0]["kind"] = "swich";
  std::ofstream(Path("c.json")) << cluster;
  std::ofstream(Path("s.json")) << R"({"annealing": {"patience": 0}})";
  const ProcessResult bad = Run({"check", Path("c.json"), clusters + "/h200-sxm.json", Path("s.json")});
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_EQ(bad.out, clusters + "/h200-sxm.json: cluster\n");
  EXPECT_EQ(bad.err, "shardscout: " + Path("c.json") +
                         "#/tiers/0/kind: found \"swich\", expected one of switch, fully_connected, ring, torus_2d, "
                         "torus_3d; did you mean \"switch\"?\nshardscout: " +
                         Path("s.json") + "#/annealing/patience: found 0, expected an integer >= 1\n");

  const ProcessResult json = Run({"check", "--json", Path("c.json"), clusters + "/h200-sxm.json"});
  EXPECT_EQ(json.exit_code, 2);
  EXPECT_EQ(json.err, "");
  const auto result = nlohmann::json::parse(json.out);
  EXPECT_EQ(result["valid"], false);
  EXPECT_EQ(result["files"][0]["place"], Path("c.json") + "#/tiers/0/kind");
  EXPECT_EQ(result["files"][1]["valid"], true);
  EXPECT_EQ(result["files"][1]["kind"], "cluster");

  ExpectUserError(Run({"check", "--kind", "workload", clusters + "/h100-sxm.json"}), "#/device: unknown key");
  ExpectUserError(Run({"check", "--kind", "custer", clusters + "/h100-sxm.json"}), "did you mean \"cluster\"?");
  ExpectUserError(Run({"check", Path("none.json")}), "can't be opened");
  ExpectUserError(Run({"check"}), "--print-schema");
}

TEST_F(Cli, CheckTakesThePlansThatSearchWrites) {
  ASSERT_EQ(Run(Search({"--out", Path("plan.json")})).exit_code, 0);
  const ProcessResult result = Run({"check", Path("plan.json")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, Path("plan.json") + ": plan\n");
}

TEST_F(Cli, PrintedSchemasAreTheCommittedOnes) {
  const bool has_agents = Run({"list", "searchers"}).out.find("\nppo ") != std::string::npos;
  for (const char* kind : {"model", "cluster", "workload", "search", "strategy", "plan", "suite"}) {
    const ProcessResult printed = Run({"check", "--print-schema", kind});
    ASSERT_EQ(printed.exit_code, 0) << printed.err;
    auto committed = nlohmann::ordered_json::parse(Read(PresetDirectory("schemas") + "/" + kind + ".schema.json"));
    if (!has_agents) {
      for (const char* name : {"ppo", "ppo-from-scratch", "ppo-paper"}) committed["properties"].erase(name);
    }
    EXPECT_TRUE(printed.out == committed.dump(2) + "\n") << kind << ": scripts/update_schemas.sh writes it";
  }
  ExpectUserError(Run({"check", "--print-schema", "planet"}), "\"planet\" is not a kind of file");
}

}  // namespace
}  // namespace shardscout::test
