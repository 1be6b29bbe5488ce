// SPDX-License-Identifier: GPL-2.0-only
/*
 * `mpsched app attach`: socket options by which applications choose for their own MPTCP connections (mps/socket_options.h). These programs
 * are not part of the data path: they stand at cgroups that are configured, since every socket option call of every process there passes
 * them. What they keep, and who reads it, is in choice.bpf.h.
 *
 * Both are called with the socket locked. What is not theirs they leave to the kernel, without having looked at it.
 */
#include "app_set.bpf.h"
#include "app_get.bpf.h"

char mps_license[] SEC("license") = "GPL";

SEC("cgroup/setsockopt") int mps_app_set(struct bpf_sockopt *ctx)
{
	const struct mps_grant *grant;
	struct mps_choice *choice;
	int error;

	if (ctx->level != MPSCHED_SOL_MPTCP || !OUR_OPTIONS(ctx->optname))
		return 1;
	/* Answered at a cgroup below this one. */
	if (ctx->optlen < 0 || bpf_get_retval())
		return 1;
	grant = own_grant();
	if (!grant || !is_ours(ctx))
		return 1;
	choice = choice_of(ctx, grant);
	error = choice ? set_option(ctx, choice, grant) : ENOMEM;
	if (error < 0) /* none of ours after all */
		return 1;
	if (error) {
		bpf_set_retval(-error);
		return 0;
	}
	ask(choice);
	ctx->optlen = -1;
	return 1;
}

SEC("cgroup/getsockopt") int mps_app_get(struct bpf_sockopt *ctx)
{
	const struct mps_grant *grant;
	struct mps_choice *choice;
	int error;

	if (ctx->level != MPSCHED_SOL_MPTCP || !OUR_OPTIONS(ctx->optname))
		return 1;
	/* Answered below, or by whatever kernel knows these numbers one day. */
	if (bpf_get_retval() != -EOPNOTSUPP)
		return 1;
	grant = own_grant();
	if (!grant || !is_ours(ctx))
		return 1;
	choice = choice_of(ctx, grant);
	error = choice ? get_option(ctx, choice, grant) : ENOMEM;
	if (error < 0)
		return 1;
	if (error) {
		bpf_set_retval(-error);
		return 0;
	}
	ctx->retval = 0;
	return 1;
}
