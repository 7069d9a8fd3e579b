# find_package(shardscout) for the installed tree: components core and live (never look for torch) and agents.
include(CMakePackageConfigHelpers)

set(SHARDSCOUT_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/shardscout)

# shardscout_warnings goes along because a static library names what it was linked with; consumers get none of it.
install(TARGETS shardscout_core shardscout_warnings EXPORT shardscout_core_targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT shardscout_core_targets NAMESPACE shardscout:: FILE shardscout-core-targets.cmake
        DESTINATION ${SHARDSCOUT_PACKAGE_DIR})
install(DIRECTORY include/shardscout DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY configs DESTINATION ${CMAKE_INSTALL_DATADIR}/shardscout)
if(SHARDSCOUT_HAVE_AGENTS)
  install(TARGETS shardscout_agents EXPORT shardscout_agents_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT shardscout_agents_targets NAMESPACE shardscout:: FILE shardscout-agents-targets.cmake
          DESTINATION ${SHARDSCOUT_PACKAGE_DIR})
endif()
if(SHARDSCOUT_HAVE_LIVE)
  install(TARGETS shardscout_live shardscout_live_worker EXPORT shardscout_live_targets
          RUNTIME DESTINATION ${CMAKE_INSTALL_LIBDIR}/shardscout)
  install(EXPORT shardscout_live_targets NAMESPACE shardscout:: FILE shardscout-live-targets.cmake
          DESTINATION ${SHARDSCOUT_PACKAGE_DIR})
endif()
install(TARGETS shardscout_all EXPORT shardscout_all_targets)
install(EXPORT shardscout_all_targets NAMESPACE shardscout:: FILE shardscout-all-targets.cmake
        DESTINATION ${SHARDSCOUT_PACKAGE_DIR})
install(TARGETS shardscout_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
if(SHARDSCOUT_HAVE_AGENTS)
  install(TARGETS shardscout_agents_module LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/shardscout)
endif()

configure_package_config_file(scripts/cmake/shardscout-config.cmake.in ${PROJECT_BINARY_DIR}/shardscout-config.cmake
                              INSTALL_DESTINATION ${SHARDSCOUT_PACKAGE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/shardscout-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/shardscout-config.cmake ${PROJECT_BINARY_DIR}/shardscout-config-version.cmake
        DESTINATION ${SHARDSCOUT_PACKAGE_DIR})
