// Package e2e runs whole installations of edgeIO, as its users do: the real
// programs as processes of their own on loopback, driven through edgectl and
// the API. It owns the tools for that (Programs, Tree, Process); its tests are
// the scenarios: jobs from deploy to end, joining, restarts and crashes, bad
// input.
//
// A Tree leaves nothing behind: at the end of its test its jobs are terminated
// through the API, its programs stopped, and a process that is left then is a
// fault. Nothing here waits by the clock: Tree.Await polls a condition until a
// deadline. Data races in the programs, and panics, fail the test they
// happened in.
//
// Variables of the environment:
//
//	EDGEIO_TORTURE       length of the torture test, such as 2m
//	EDGEIO_TORTURE_SEED  seed to repeat it with
//	EDGEIO_E2E_KEEP      if set, folders of trees are kept
package e2e
