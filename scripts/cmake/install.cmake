# What is installed, in components that are also the Debian packages (scripts/cmake/package.cmake):
#   program        the command line, presets, manual page and completions
#   agents, live   the module and the program that need LibTorch
#   devel          headers, the core as a static library, find_package(shardscout) and pkg-config
#   agents-devel   the agents as a static library
include(CMakePackageConfigHelpers)

set(SHARDSCOUT_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/shardscout)

install(TARGETS shardscout_core EXPORT shardscout_core_targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT devel)
install(EXPORT shardscout_core_targets NAMESPACE shardscout:: FILE shardscout-core-targets.cmake
        DESTINATION ${SHARDSCOUT_PACKAGE_DIR} COMPONENT devel)
install(DIRECTORY include/shardscout DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT devel)
install(DIRECTORY configs DESTINATION ${CMAKE_INSTALL_DATADIR}/shardscout COMPONENT program)
install(FILES README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT program)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT program RENAME copyright)
if(SHARDSCOUT_HAVE_AGENTS)
  install(TARGETS shardscout_agents EXPORT shardscout_agents_targets
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT agents-devel)
  install(EXPORT shardscout_agents_targets NAMESPACE shardscout:: FILE shardscout-agents-targets.cmake
          DESTINATION ${SHARDSCOUT_PACKAGE_DIR} COMPONENT agents-devel)
  install(TARGETS shardscout_agents_module
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/shardscout COMPONENT agents)
endif()
if(SHARDSCOUT_HAVE_LIVE)
  install(TARGETS shardscout_live shardscout_live_worker EXPORT shardscout_live_targets
          RUNTIME DESTINATION ${CMAKE_INSTALL_LIBDIR}/shardscout COMPONENT live)
  # With the program that it names, whose absence it would report as an error.
  install(EXPORT shardscout_live_targets NAMESPACE shardscout:: FILE shardscout-live-targets.cmake
          DESTINATION ${SHARDSCOUT_PACKAGE_DIR} COMPONENT live)
endif()
install(TARGETS shardscout_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)

# The manual page and the shells' completions, which the program writes of its own options.
set(pages ${PROJECT_BINARY_DIR}/pages)
file(MAKE_DIRECTORY ${pages})
set(SHARDSCOUT_PAGES)
foreach(page "shardscout.1 man" "shardscout completion bash" "_shardscout completion zsh" "shardscout.fish completion fish")
  string(REPLACE " " ";" words ${page})
  list(POP_FRONT words file)
  add_custom_command(OUTPUT ${pages}/${file} COMMAND shardscout_cli ${words} > ${pages}/${file} DEPENDS shardscout_cli
                     VERBATIM)
  list(APPEND SHARDSCOUT_PAGES ${pages}/${file})
endforeach()
add_custom_target(shardscout_pages ALL DEPENDS ${SHARDSCOUT_PAGES})
install(FILES ${pages}/shardscout.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT program)
install(FILES ${pages}/shardscout DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT program)
install(FILES ${pages}/shardscout.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d
        COMPONENT program)
# zsh itself looks in the first; below /usr Debian's looks in the second only.
foreach(folder site-functions vendor-completions)
  install(FILES ${pages}/_shardscout DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/${folder} COMPONENT program)
endforeach()

configure_package_config_file(scripts/cmake/shardscout-config.cmake.in ${PROJECT_BINARY_DIR}/shardscout-config.cmake
                              INSTALL_DESTINATION ${SHARDSCOUT_PACKAGE_DIR} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/shardscout-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/shardscout-config.cmake ${PROJECT_BINARY_DIR}/shardscout-config-version.cmake
        DESTINATION ${SHARDSCOUT_PACKAGE_DIR} COMPONENT devel)

# Found from where it lies, so that the tree may be moved.
set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH SHARDSCOUT_PC_TO_PREFIX /${pkgconfig_dir} /)
string(REGEX REPLACE "/$" "" SHARDSCOUT_PC_TO_PREFIX "${SHARDSCOUT_PC_TO_PREFIX}")
configure_file(scripts/cmake/shardscout.pc.in ${PROJECT_BINARY_DIR}/shardscout.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/shardscout.pc DESTINATION ${pkgconfig_dir} COMPONENT devel)
