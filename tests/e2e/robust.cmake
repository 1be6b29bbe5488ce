# SPDX-License-Identifier: MIT
# Copyright mpsched contributors

mps_bpf_object(mps_foreign_object SOURCE robust_foreign.bpf.c OUTPUT_NAME foreign_programs)
mps_bpf_skeleton(mps_foreign_skel OBJECT mps_foreign_object)

# One source, several policies with something wrong, and one that is right.
foreach(fault IN ITEMS none abi info program unsafe)
    string(TOUPPER "${fault}" define)
    mps_bpf_object(mps_robust_${fault}_object SOURCE robust_policy.bpf.c OUTPUT_NAME robust_${fault}
        INCLUDES ../../bpf/include DEFINES FAULT_${define}=1)
    mps_embed_file(mps_robust_${fault} NAME mps_robust_${fault} OBJECT mps_robust_${fault}_object)
endforeach()

add_library(mps_robust STATIC robust_rig.cpp)
target_link_libraries(mps_robust PUBLIC mps_traffic mps_abi PkgConfig::LIBBPF)

# None of them measures a rate or a delay.
mps_add_test(robust_kill TIER e2e BESIDE TIMEOUT 400 SOURCES robust_kill.cpp LIBS mps_robust)
mps_add_test(robust_parallel TIER e2e BESIDE TIMEOUT 180 SOURCES robust_parallel.cpp LIBS mps_robust)
mps_add_test(robust_input TIER e2e BESIDE TIMEOUT 180 SOURCES robust_input.cpp LIBS mps_robust)
mps_add_test(robust_pins TIER e2e BESIDE TIMEOUT 180 SOURCES robust_pins.cpp LIBS mps_robust)
mps_add_test(robust_hooks TIER e2e BESIDE TIMEOUT 180 SOURCES robust_hooks.cpp LIBS mps_robust mps_foreign_skel)
mps_add_test(robust_doctor TIER e2e BESIDE TIMEOUT 120 SOURCES robust_doctor.cpp LIBS mps_robust)
mps_add_test(robust_policies TIER e2e BESIDE TIMEOUT 180 SOURCES robust_policies.cpp
    LIBS mps_robust mps_robust_none mps_robust_abi mps_robust_info mps_robust_program mps_robust_unsafe)
mps_add_test(robust_live TIER e2e BESIDE TIMEOUT 240 SOURCES robust_live.cpp LIBS mps_robust mps_datapath_skel)
add_library(mps_service_run STATIC service_run.cpp)
target_link_libraries(mps_service_run PUBLIC mps_robust)
add_dependencies(mps_service_run mpschedd)
mps_add_test(robust_service TIER e2e BESIDE TIMEOUT 180 SOURCES robust_service.cpp robust_reboot.cpp LIBS mps_service_run)
mps_add_test(robust_application TIER e2e BESIDE TIMEOUT 400 SOURCES robust_application.cpp LIBS mps_service_run mps_app_sockets)
mps_add_test(robust_metrics TIER e2e BESIDE TIMEOUT 180 SOURCES robust_metrics.cpp LIBS mps_service_run mps_app_sockets)
mps_add_test(robust_metered TIER e2e BESIDE TIMEOUT 240 SOURCES robust_metered.cpp LIBS mps_service_run)
mps_add_test(robust_web TIER e2e BESIDE TIMEOUT 240 SOURCES robust_web.cpp LIBS mps_service_run)
mps_add_test(robust_fleet TIER e2e BESIDE TIMEOUT 300 SOURCES robust_fleet.cpp LIBS mps_robust mps_store mpsched_loader)
add_dependencies(robust_fleet mpschedd)
