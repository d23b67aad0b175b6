package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/control/api/server"
	"github.com/edgeio/edgeio/control/cluster"
	"github.com/edgeio/edgeio/control/config"
	"github.com/edgeio/edgeio/control/root"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/job"
)

func devCommand() *cli.Command {
	return &cli.Command{
		Name: "dev", Usage: "run root, cluster and agent on this machine, to try edgeIO out",
		Description: "All of it listens on loopback, on free ports unless given. When the node is ready,\n" +
			"DIR/edgectl.yaml is there and a line that begins with \"ready\" is printed. Workloads\n" +
			"outlive this command unless --stop-jobs is given; with the same DIR they are found again.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "data-dir", Required: true, Usage: "`DIR` for everything", EnvVars: []string{"EDGEDEV_DATA_DIR"}},
			&cli.StringFlag{Name: "api-addr", Value: "127.0.0.1:0", Usage: "`ADDRESS` of the API, HTTPS", EnvVars: []string{"EDGEDEV_API_ADDR"}},
			&cli.StringFlag{Name: "link-addr", Value: "127.0.0.1:0", Usage: "`ADDRESS` of the root for clusters and nodes, QUIC over UDP", EnvVars: []string{"EDGEDEV_LINK_ADDR"}},
			&cli.StringFlag{Name: "cluster-name", Value: "dev", Usage: "`NAME` of the cluster"},
			&cli.StringFlag{Name: "location", Value: "here", Usage: "location `NAME` of the cluster"},
			&cli.StringFlag{Name: "node-name", Usage: "`NAME` of the node", DefaultText: "the host's name"},
			&cli.StringFlag{Name: "agent-config", Usage: "configuration `FILE` of the agent"},
			&cli.BoolFlag{Name: "stop-jobs", Usage: "terminate all jobs before stopping"},
			&cli.StringFlag{Name: "log-level", Value: "warn", Usage: "`LEVEL`: debug, info, warn or error", EnvVars: []string{"EDGEDEV_LOG_LEVEL"}},
		},
		Action: func(c *cli.Context) error {
			dir, err := filepath.Abs(c.String("data-dir"))
			if err != nil {
				return err
			}
			agent, err := executableBeside("edgeagent")
			if err != nil {
				return err
			}
			log := config.Log{Level: c.String("log-level"), Format: "text"}
			d := &dev{
				dir: dir, agent: agent, out: c.App.Writer, log: log.Logger(), logLevel: c.String("log-level"),
				apiAddr: c.String("api-addr"), linkAddr: c.String("link-addr"),
				cluster: c.String("cluster-name"), location: c.String("location"),
				node: c.String("node-name"), agentConfig: c.String("agent-config"), stopJobs: c.Bool("stop-jobs"),
			}
			return d.run(c.Context)
		},
	}
}

// dev is a whole installation on one machine: root and cluster in this
// process, the agent in one of its own.
type dev struct {
	dir, agent        string
	apiAddr, linkAddr string
	cluster, location string
	node, agentConfig string
	stopJobs          bool
	out               io.Writer
	log               *slog.Logger
	logLevel          string
}

// startTimeout bounds the start of each of the three parts.
const startTimeout = 30 * time.Second

// run starts the parts in the order in which they need each other, and stops
// them in the reverse order.
func (d *dev) run(ctx context.Context) error {
	// The parts outlive ctx for as long as it takes to stop the jobs.
	parts, stop := context.WithCancel(context.Background())
	defer stop()
	g, parts := errgroup.WithContext(parts)

	rootReady := make(chan root.Endpoints, 1)
	g.Go(func() error {
		return root.Run(parts, root.Config{
			DataDir: filepath.Join(d.dir, "root"), Name: "dev", APIAddr: d.apiAddr, LinkAddr: d.linkAddr, Version: version,
			Ready: func(e root.Endpoints) { rootReady <- e },
		}, d.log.With("part", "root"))
	})
	backend, stopAgent, err := d.startRest(ctx, parts, g, rootReady)
	if err == nil {
		select {
		case <-ctx.Done():
			if d.stopJobs {
				err = terminateAll(parts, backend)
			}
		case <-parts.Done():
		}
	}
	stopAgent()
	stop()
	if waited := g.Wait(); waited != nil && !errors.Is(waited, context.Canceled) {
		return waited
	}
	if errors.Is(err, context.Canceled) {
		return nil // stopped before all of it had started
	}
	return err
}

// startRest starts cluster and agent below the root. stopAgent is never nil.
func (d *dev) startRest(ctx, parts context.Context, g *errgroup.Group, rootReady <-chan root.Endpoints) (b server.Backend, stopAgent context.CancelFunc, err error) {
	agentCtx, stopAgent := context.WithCancel(context.Background())
	top, err := await(ctx, parts, rootReady, "the root")
	if err != nil {
		return b, stopAgent, err
	}
	clusterReady := make(chan net.Addr, 1)
	token, err := top.Backend.Tokens.CreateJoinToken(ctx, api.NewJoinToken{Kind: api.JoinCluster, TTLSeconds: 600})
	if err != nil {
		return b, stopAgent, err
	}
	g.Go(func() error {
		return cluster.Run(parts, cluster.Config{
			DataDir: filepath.Join(d.dir, "cluster"), Name: d.cluster, Location: d.location, LinkAddr: "127.0.0.1:0",
			Parents: []string{top.Link.String()}, Token: token.Token, Version: version,
			Ready: func(a net.Addr) { clusterReady <- a },
		}, d.log.With("part", "cluster"))
	})
	link, err := await(ctx, parts, clusterReady, "the cluster")
	if err != nil {
		return b, stopAgent, err
	}
	token, err = top.Backend.Tokens.CreateJoinToken(ctx, api.NewJoinToken{Kind: api.JoinNode, TTLSeconds: 600})
	if err != nil {
		return b, stopAgent, err
	}
	g.Go(func() error { return d.runAgent(agentCtx, link.String(), token.Token) })
	node, err := awaitNode(ctx, parts, top.Backend.Fleet)
	if err != nil {
		return b, stopAgent, err
	}
	return top.Backend, stopAgent, d.announce(top, node)
}

// announce tells that everything is ready, and how to go on.
func (d *dev) announce(top root.Endpoints, node api.Node) error {
	conf, err := os.ReadFile(top.Client)
	if err != nil {
		return fmt.Errorf("read the admin's configuration: %w", err)
	}
	path := filepath.Join(d.dir, root.ClientConfigFile)
	if err := identity.WriteFile(path, conf, 0o600); err != nil {
		return err
	}
	_, err = fmt.Fprintf(d.out, "ready: node %s in cluster %s; API https://%s; use it with: export EDGECTL_CONFIG=%s\n",
		node.Name, d.cluster, top.API, path)
	return err
}

// runAgent runs the agent until ctx ends. Should this process be killed, the
// agent is told to stop, too.
func (d *dev) runAgent(ctx context.Context, parent, token string) error {
	args := []string{"run", "--state-dir", filepath.Join(d.dir, "agent"), "--join", parent, "--parent", parent, "--log-level", d.logLevel}
	if d.node != "" {
		args = append(args, "--name", d.node)
	}
	if d.agentConfig != "" {
		args = append(args, "--config", d.agentConfig)
	}
	// The death signal is bound to the thread that starts the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, d.agent, args...)
	cmd.Env = append(os.Environ(), "EDGEAGENT_TOKEN="+token)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = stopWithParent()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	if err := cmd.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("the agent ended: %w", err)
	}
	return nil
}

func await[T any](ctx, parts context.Context, ready <-chan T, what string) (T, error) {
	var zero T
	select {
	case v := <-ready:
		return v, nil
	case <-ctx.Done():
		return zero, ctx.Err()
	case <-parts.Done():
		return zero, context.Cause(parts)
	case <-time.After(startTimeout):
		return zero, fmt.Errorf("%s is not ready after %s", what, startTimeout)
	}
}

// awaitNode waits until the agent has registered.
func awaitNode(ctx, parts context.Context, fleet server.Fleet) (api.Node, error) {
	found := make(chan api.Node, 1)
	searching, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			nodes, _ := fleet.Nodes(searching, server.NodeFilter{})
			for _, n := range nodes {
				if n.Ready {
					found <- n
					return
				}
			}
			select {
			case <-searching.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return await(ctx, parts, found, "the node")
}

// terminateTimeout is how long jobs have to end when all is stopped.
const terminateTimeout = 30 * time.Second

// terminateAll terminates every job and waits until all have ended.
func terminateAll(ctx context.Context, b server.Backend) error {
	ctx, cancel := context.WithTimeout(ctx, terminateTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		all, err := b.Jobs.List(ctx, server.JobFilter{})
		if err != nil {
			return fmt.Errorf("stop jobs: %w", err)
		}
		left := 0
		for _, j := range all {
			for _, in := range j.Instances {
				if in.State != job.Terminated {
					left++
				}
			}
			if j.Desired != api.DesiredTerminated {
				if _, err := b.Jobs.Terminate(ctx, j.ID); err != nil {
					return fmt.Errorf("stop job %s: %w", j.ID, err)
				}
			}
		}
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stop jobs: %d have not ended after %s", left, terminateTimeout)
		case <-tick.C:
		}
	}
}
