#include "src/cli/logging.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string_view>

#include "shardscout/error.h"
#include "shardscout/plan.h"

namespace shardscout::cli {
namespace {

constexpr const char* kLogger = "shardscout";

/// The sinks are the logger's own: first stderr's, then the file's, if there is one.
std::shared_ptr<spdlog::sinks::sink> FileSink() {
  const auto logger = spdlog::get(kLogger);
  return logger && logger->sinks().size() > 1 ? logger->sinks().back() : nullptr;
}

}  // namespace

void SetUpLogging() {
  const char* const no_color = std::getenv("NO_COLOR");
  const bool plain = no_color != nullptr && *no_color != '\0';
  auto logger = spdlog::stderr_color_mt(kLogger, plain ? spdlog::color_mode::never : spdlog::color_mode::automatic);
  logger->set_pattern("%^%l%$: %v");
  spdlog::set_default_logger(std::move(logger));
}

void ApplyLogOptions(const Context& context, const std::string& command_line) {
  const auto level = spdlog::level::from_str(context.log_level);
  const auto logger = spdlog::get(kLogger);
  logger->set_level(level);
  if (context.quiet) logger->sinks().front()->set_level(std::max(level, spdlog::level::err));
  if (context.log_file.empty()) return;
  CheckCanWrite(context.log_file);
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(context.log_file);
    sink->set_pattern("%Y-%m-%d %H:%M:%S.%e %l: %v");
    logger->sinks().push_back(std::move(sink));
  } catch (const spdlog::spdlog_ex& error) {
    throw SpecError("--log-file", error.what());
  }
  logger->flush_on(spdlog::level::trace);
  const std::string text = "shardscout " + std::string(Version()) + ": " + command_line;
  FileSink()->log({kLogger, spdlog::level::info, text});
  FileSink()->flush();
}

void PrintError(const std::string& text) {
  std::cerr << text;
  const auto file = FileSink();
  if (!file) return;
  const std::string_view line = std::string_view(text).substr(0, text.find_last_not_of('\n') + 1);
  file->log({kLogger, spdlog::level::err, spdlog::string_view_t(line.data(), line.size())});
  file->flush();
}

}  // namespace shardscout::cli
