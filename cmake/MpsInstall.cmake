# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
#
# What 'cmake --install' brings besides the program, its manual page and completions: headers for policies (bpf/), licences, what
# people read, and policies to start from.

include_guard(GLOBAL)

set(mps_doc "${CMAKE_INSTALL_DOCDIR}")
install(FILES "${PROJECT_SOURCE_DIR}/README.md" "${PROJECT_SOURCE_DIR}/CHANGELOG.md" "${PROJECT_SOURCE_DIR}/SECURITY.md"
    "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${mps_doc}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/LICENSES" "${PROJECT_SOURCE_DIR}/docs" DESTINATION "${mps_doc}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/examples" DESTINATION "${mps_doc}")
# The policies that come with mpsched, as examples: each is a folder with a core, its glue and a README.
install(DIRECTORY "${PROJECT_SOURCE_DIR}/schedulers/" DESTINATION "${mps_doc}/schedulers"
    FILES_MATCHING PATTERN "*.md" PATTERN "*.h" PATTERN "*.bpf.c" PATTERN "include" EXCLUDE)
