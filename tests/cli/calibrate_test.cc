// calibrate, end to end, on the measurements beside the repository: what is promised of them.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/cli/cli_fixture.h"

namespace shardscout::test {
namespace {

using nlohmann::json;

class CalibrateCommand : public Cli {};

/// Of H100, and where SHARDSCOUT_CALIBRATE_ALL is set (test.sh --all) of H200 too, which takes as long again.
TEST_F(CalibrateCommand, PredictsTheMeasurements) {
  const char* data = std::getenv("SHARDSCOUT_DATA");
  if (data == nullptr) GTEST_SKIP() << "SHARDSCOUT_DATA isn't set: no measurements";
  const bool all = std::getenv("SHARDSCOUT_CALIBRATE_ALL") != nullptr;
  const ProcessResult result =
      Run({"calibrate", "--data", std::string(data) + "/data", "--cluster", all ? "h100-sxm,h200-sxm" : "h100-sxm",
           "--csv", Path("curves.csv"), "--json", "--quiet"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json document = json::parse(result.out);
  EXPECT_EQ(NumLines(Path("curves.csv")), 1 + static_cast<std::ptrdiff_t>(document["curves"].size()));
  std::map<std::string, int> devices_of;
  for (const json& family : document["families"]) {
    const std::string name = family["family"];
    SCOPED_TRACE(family["device"].get<std::string>() + " " + name);
    ++devices_of[name];
    if (name == "stream") continue;  // Measured with a clock of microseconds, on H100 only.
    const double median = family["held_out"]["median"], p90 = family["held_out"]["p90"];
    EXPECT_LE(median, 0.06);
    if (name != "moe") {
      EXPECT_LE(p90, 0.20);
    }
    EXPECT_LT(4 * median, family["roofline"]["median"].get<double>());
    EXPECT_GT(median, 0.005) << "nothing is that good";
  }
  for (const char* name : {"gemm", "prefill_attention", "decode_attention", "prefill_mla", "decode_mla", "moe",
                           "deep_ep", "deep_ep_low_latency", "engine_all_reduce", "collectives"}) {
    EXPECT_EQ(devices_of[name], all ? 2 : 1) << name;
  }
  for (const json& curve : document["curves"]) {
    const std::string family = curve["family"], type = curve["type"];
    SCOPED_TRACE(curve["device"].get<std::string>() + " " + family + " " + type);
    const double median = curve["held_out"]["median"], p90 = curve["held_out"]["p90"];
    if (family == "gemm" || family.ends_with("_attention") || family.ends_with("_mla") || family == "collectives") {
      EXPECT_LE(median, 0.06);
      EXPECT_LE(p90, 0.20);
    }
    // What was measured with another shape's tuned kernels nothing can predict (calibrate_moe.h).
    if (family == "moe" && type.find("shared_tuning") == std::string::npos) {
      EXPECT_LE(median, 0.06);
      EXPECT_LE(p90, 0.20);
    }
    if (type.ends_with("/nodes")) {
      EXPECT_LE(median, 0.15);
    }
  }
}

TEST_F(CalibrateCommand, MistakesAreOneLine) {
  ExpectUserError(Run({"calibrate"}), "--data");
  ExpectUserError(Run({"calibrate", "--data", Path("none")}), "no table such as operators/gemm_DEVICE.csv");
  ExpectUserError(Run({"calibrate", "--data", Path("none"), "--cluster", "mi300x"}), "measured_as");
  ExpectUserError(Run({"calibrate", "--data", Path("none"), "--csv", "/none/x.csv"}), "create its folder first");
  ExpectUserError(Run({"calibrate", "--data", Path("none"), "--out", Path("x.json")}), "expected one");
  ExpectUserError(Run({"calibrate", "--data", Path("none"), "--cluster", "h100-sxm", "--out", "/none/x.json"}),
                  "create its folder first");
}

TEST_F(CalibrateCommand, AUserFitsAnOwnDevice) {
  std::ofstream cluster(Path("my.json"));
  json spec = json::parse(Read(std::string(SHARDSCOUT_TEST_CONFIGS) + "/clusters/h100-sxm.json"));
  spec["device"]["measured_as"] = "mine";
  cluster << spec;
  cluster.close();
  std::filesystem::create_directories(folder_ / "operators");
  std::ofstream table(Path("operators/gemm_mine.csv"));
  table << "gemm_dtype,m,n,k,latency_ms\n";
  for (int m = 1; m <= 4096; m *= 4) {
    for (int n = 64; n <= 16384; n *= 2) {
      // A launch of 5 us and 1e15 FLOP/s.
      for (int k = 64; k <= 16384; k *= 4)
        table << "bfloat16," << m << "," << n << "," << k << "," << 5e-3 + 2e-12 * m * n * k << "\n";
    }
  }
  table.close();
  const Words calibrate = {"calibrate", "--data", folder_.string(), "--cluster", Path("my.json")};
  const ProcessResult result = Run(calibrate);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("mine    gemm    bfloat16"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("mine    gemm    all"), std::string::npos) << result.out;

  // Into the cluster's file, over itself: what was measured is replaced, the rest stays, and it is used.
  Words into_file = calibrate;
  into_file.insert(into_file.end(), {"--out", Path("my.json"), "--quiet"});
  ASSERT_EQ(Run(into_file).out, result.out);
  const json written = json::parse(Read(Path("my.json")));
  const json& curves = written["device"]["curves"];
  EXPECT_LT(curves["gemm_bf16"]["launch_s"].get<double>(), 6e-6);
  EXPECT_NE(curves["gemm_bf16"], spec["device"]["curves"]["gemm_bf16"]);
  EXPECT_FALSE(curves.contains("norm")) << "not measured: an H100's, scaled";
  EXPECT_FALSE(written["tiers"][0].contains("nccl"));
  EXPECT_NE(curves["_held_out_errors"].get<std::string>().find("gemm_bf16"), std::string::npos);
  spec["device"].erase("curves");
  for (const char* curve : {"nccl", "engine_all_reduce", "_held_out_errors"}) spec["tiers"][0].erase(curve);
  json rest = written;
  rest["device"].erase("curves");
  EXPECT_EQ(rest, spec);
  EXPECT_EQ(Run({"check", Path("my.json")}).exit_code, 0);
  const std::string once = Read(Path("my.json"));
  ASSERT_EQ(Run(into_file).exit_code, 0);
  EXPECT_EQ(Read(Path("my.json")), once);

  Words with_page = calibrate;
  with_page.insert(with_page.end(), {"--html", Path("page.html"), "--quiet"});
  const ProcessResult paged = Run(with_page);
  if (paged.exit_code == 2) {
    ExpectUserError(paged, "no Chart.js");
    return;
  }
  EXPECT_EQ(paged.out, result.out);
  const std::string page = Read(Path("page.html"));
  EXPECT_NE(page.find("<h2>mine: gemm</h2>"), std::string::npos);
  EXPECT_NE(page.find("\"type\":\"bfloat16\""), std::string::npos);
}

}  // namespace
}  // namespace shardscout::test
