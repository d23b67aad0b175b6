package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/edgeio/edgeio/control/api"
)

// tree is an installation: a root, a cluster and a node, each a process of its
// own. Everything of it lies in dir.
type tree struct {
	bin, dir             string
	root, cluster, agent *program
	agentArgs            []string
	client               *api.Client
	events               *watch
}

// startTimeout bounds the start of one program.
const startTimeout = 30 * time.Second

var (
	rootReady    = regexp.MustCompile(`(?m)^ready: .* join at (\S+)/udp; admin: EDGECTL_CONFIG=(\S+)$`)
	clusterReady = regexp.MustCompile(`(?m)^ready: nodes join at (\S+)/udp$`)
)

// plant starts a tree. between, if not nil, is given the address of the
// cluster and returns the one that the node shall use. The caller calls fell,
// whether there is an error or not.
func (b *bench) plant(ctx context.Context, between func(string) (string, error)) (*tree, error) {
	// Short, because sockets lie in it.
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	// Jobs that run as other users must get through to what is theirs.
	t := &tree{bin: b.bin, dir: dir}
	if err := os.Chmod(dir, 0o711); err != nil {
		return t, err
	}
	address, err := t.plantControl(ctx)
	if err == nil && between != nil {
		address, err = between(address)
	}
	if err == nil {
		err = t.addNode(ctx, address)
	}
	return t, err
}

// plantControl starts root and cluster and returns where nodes join.
func (t *tree) plantControl(ctx context.Context) (string, error) {
	var err error
	t.root, err = start("root", nil, t.program("edgecontrol"), "root", "--name", "bench", "--data-dir", t.path("root"),
		"--api-addr", "127.0.0.1:0", "--link-addr", "127.0.0.1:0", "--log-level", "warn")
	if err != nil {
		return "", err
	}
	ready, err := t.await(ctx, t.root, rootReady)
	if err != nil {
		return "", err
	}
	if t.client, err = newClient(ready[2]); err != nil {
		return "", err
	}
	t.events = follow(ctx, t.client)
	token, err := t.client.CreateJoinToken(ctx, api.NewJoinToken{Kind: api.JoinCluster})
	if err != nil {
		return "", fmt.Errorf("make a join token: %w", err)
	}
	t.cluster, err = start("cluster", []string{"EDGECLUSTER_TOKEN=" + token.Token}, t.program("edgecontrol"), "cluster", "--name", "bench",
		"--data-dir", t.path("cluster"), "--link-addr", "127.0.0.1:0", "--join", ready[1], "--log-level", "warn")
	if err != nil {
		return "", err
	}
	if ready, err = t.await(ctx, t.cluster, clusterReady); err != nil {
		return "", err
	}
	return ready[1], nil
}

func newClient(config string) (*api.Client, error) {
	var conf struct{ Address, Authority, Token string }
	b, err := os.ReadFile(config)
	if err == nil {
		err = yaml.Unmarshal(b, &conf)
	}
	if err != nil {
		return nil, fmt.Errorf("read the admin's configuration: %w", err)
	}
	return api.New(api.Config{Addresses: []string{conf.Address}, AuthorityPEM: []byte(conf.Authority), Token: conf.Token})
}

func (t *tree) addNode(ctx context.Context, address string) error {
	token, err := t.client.CreateJoinToken(ctx, api.NewJoinToken{Kind: api.JoinNode})
	if err != nil {
		return fmt.Errorf("make a join token: %w", err)
	}
	t.agentArgs = []string{t.program("edgeagent"), "run", "--name", "bench", "--state-dir", t.path("agent"), "--join", address}
	if t.agent, err = start("agent", []string{"EDGEAGENT_TOKEN=" + token.Token}, t.agentArgs...); err != nil {
		return err
	}
	return t.awaitNode(ctx)
}

// registered is what the agent logs once its parent knows it.
var registered = regexp.MustCompile(`msg=registered`)

// awaitNode waits until the root knows that the node takes jobs.
func (t *tree) awaitNode(ctx context.Context) error {
	if _, err := t.await(ctx, t.agent, registered); err != nil {
		return err
	}
	return poll(ctx, "the node is ready", func() (bool, error) {
		nodes, err := t.client.Nodes(ctx, "")
		return slices.ContainsFunc(nodes, func(n api.Node) bool { return n.Ready }), err
	})
}

func (t *tree) await(ctx context.Context, p *program, re *regexp.Regexp) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return p.said(ctx, re)
}

// programs are from the leaf to the root; those not started are nil.
func (t *tree) programs() []*program { return []*program{t.agent, t.cluster, t.root} }

func (t *tree) program(name string) string { return filepath.Join(t.bin, name) }
func (t *tree) path(name string) string    { return filepath.Join(t.dir, name) }

// poll waits until a condition holds.
func poll(ctx context.Context, what string, condition func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := condition()
		if ok && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait until %s: %w", what, ctx.Err()), err)
		case <-tick.C:
		}
	}
}

// fellTimeout bounds the end of all jobs of a tree.
const fellTimeout = time.Minute

// fell ends the jobs, stops the programs and removes the folder. It also works
// when the measurement was interrupted, and on a tree that is half there.
func (t *tree) fell(ctx context.Context) error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fellTimeout)
	defer cancel()
	var errs []error
	if t.client != nil {
		errs = append(errs, t.terminateAll(ctx))
		t.events.stop()
		t.client.Close()
	}
	for _, p := range t.programs() {
		if p != nil {
			errs = append(errs, p.stop())
		}
	}
	for pid, argv := range processesOf(t.dir) {
		errs = append(errs, fmt.Errorf("process %d is left and was ended: %q", pid, argv))
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return errors.Join(append(errs, os.RemoveAll(t.dir))...)
}
