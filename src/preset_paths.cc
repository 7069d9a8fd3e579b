#include "shardscout/preset_paths.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "shardscout/error.h"
#include "src/choices.h"
#include "src/json/json_text.h"

namespace shardscout {
namespace {

namespace fs = std::filesystem;

std::string WithoutExtension(const std::string& name) {
  return name.ends_with(".json") ? name.substr(0, name.size() - 5) : name;
}

/// share/shardscout/configs of the tree that the running program is installed in; empty where the system doesn't tell.
fs::path BesideTheProgram() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return {};
  return program.parent_path().parent_path() / "share" / "shardscout" / "configs";
}

std::string Variable(const char* name, const std::string& otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr || *value == '\0' ? otherwise : value;
}

fs::path ConfigsDirectory() {
  if (const std::string configured = Variable("SHARDSCOUT_CONFIGS", ""); !configured.empty()) return configured;
  const fs::path beside = BesideTheProgram();
  std::vector<fs::path> places = {beside, SHARDSCOUT_SOURCE_CONFIGS};
  std::istringstream data(Variable("XDG_DATA_DIRS", "/usr/local/share:/usr/share"));
  for (std::string folder; std::getline(data, folder, ':');) {
    if (!folder.empty()) places.push_back(fs::path(folder) / "shardscout" / "configs");
  }
  std::error_code error;
  const auto found = std::find_if(places.begin(), places.end(), [&](const fs::path& place) {
    return !place.empty() && fs::is_directory(place, error);
  });
  return found == places.end() ? beside : *found;
}

}  // namespace

std::string PresetDirectory(std::string_view kind) { return (ConfigsDirectory() / kind).string(); }

std::vector<std::string> ListPresets(std::string_view kind) {
  std::vector<std::string> names;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(PresetDirectory(kind), error)) {
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string ResolvePreset(std::string_view kind, const std::string& name_or_path, std::string_view flag) {
  std::error_code error;
  if (fs::exists(name_or_path, error) && !fs::is_directory(name_or_path, error)) return name_or_path;
  const std::vector<std::string> presets = ListPresets(kind);
  const std::string name = WithoutExtension(name_or_path);
  if (std::find(presets.begin(), presets.end(), name) != presets.end()) {
    return (fs::path(PresetDirectory(kind)) / (name + ".json")).string();
  }
  throw SpecError(flag, "\"" + name_or_path + "\" is neither a file nor a preset in " + PresetDirectory(kind) +
                            ", which holds " + internal::Choices(name, presets));
}

std::string ReadTextFile(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) throw SpecError(path, "is a directory, expected a file");
  std::ifstream file(path, std::ios::binary);
  if (!file) throw SpecError(path, "can't be opened");
  std::string text;
  std::array<char, 65536> chunk;
  while (file.read(chunk.data(), chunk.size()), file.gcount() > 0) {
    text.append(chunk.data(), static_cast<std::size_t>(file.gcount()));
    if (text.size() > json::kMaxTextBytes) {
      throw SpecError(path, "larger than " + std::to_string(json::kMaxTextBytes >> 20) + " MiB");
    }
  }
  if (file.bad()) throw SpecError(path, "can't be read");
  return text;
}

}  // namespace shardscout
