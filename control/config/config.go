// Package config is the configuration of root and cluster orchestrators: what
// can be set in a file, and the defaults. Environment and flags, which are
// stronger, are applied by the command.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/goccy/go-yaml"
)

// Default files; they need not exist.
const (
	DefaultRootFile    = "/etc/edgeio/root.yaml"
	DefaultClusterFile = "/etc/edgeio/cluster.yaml"
)

// Default ports. The link is UDP, the API is TCP.
const (
	APIPort     = "8443"
	RootPort    = "7443"
	ClusterPort = "7444"
)

// Root is what can be set of a root orchestrator.
type Root struct {
	Name          string        `yaml:"name"`
	DataDir       string        `yaml:"data_dir"`
	APIAddr       string        `yaml:"api_addr"`
	LinkAddr      string        `yaml:"link_addr"`
	Advertise     []string      `yaml:"advertise"`
	UsageInterval time.Duration `yaml:"usage_interval"`
	Log           Log           `yaml:"log"`
}

// Cluster is what can be set of a cluster orchestrator.
type Cluster struct {
	Name          string            `yaml:"name"`
	Location      string            `yaml:"location"`
	Labels        map[string]string `yaml:"labels"`
	DataDir       string            `yaml:"data_dir"`
	LinkAddr      string            `yaml:"link_addr"`
	Parents       []string          `yaml:"parents"`
	Token         string            `yaml:"token"`
	UsageInterval time.Duration     `yaml:"usage_interval"`
	Log           Log               `yaml:"log"`
}

// Log says what is logged to standard error, and how.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn or error
	Format string `yaml:"format"` // text or json
}

// DefaultRoot is a root that nobody has configured.
func DefaultRoot() Root {
	return Root{
		Name: "root", DataDir: "/var/lib/edgeio/root", APIAddr: ":" + APIPort, LinkAddr: ":" + RootPort,
		UsageInterval: 15 * time.Second, Log: Log{Level: "info", Format: "text"},
	}
}

// DefaultCluster is a cluster that nobody has configured.
func DefaultCluster() Cluster {
	name, err := os.Hostname()
	if err != nil {
		name = "cluster"
	}
	return Cluster{
		Name: name, DataDir: "/var/lib/edgeio/cluster", LinkAddr: ":" + ClusterPort,
		UsageInterval: 15 * time.Second, Log: Log{Level: "info", Format: "text"},
	}
}

// Load reads a file on top of the defaults in c. Unknown fields and wrong
// types are errors that name line and column. A file that does not exist is an
// error unless it is the default one.
func Load[T Root | Cluster](c *T, file, defaultFile string) error {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && file == defaultFile {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	if err := yaml.UnmarshalWithOptions(data, c, yaml.Strict()); err != nil {
		return fmt.Errorf("%s:%s", file, yaml.FormatError(err, false, true))
	}
	return nil
}

// Validate returns all that is wrong with the values.
func (c Root) Validate() error {
	var v problems
	v.name(c.Name)
	v.dir(c.DataDir)
	v.addr("api_addr", c.APIAddr)
	v.addr("link_addr", c.LinkAddr)
	v.interval(c.UsageInterval)
	v.log(c.Log)
	return v.err()
}

// Validate returns all that is wrong with the values.
func (c Cluster) Validate() error {
	var v problems
	v.name(c.Name)
	v.dir(c.DataDir)
	v.addr("link_addr", c.LinkAddr)
	v.interval(c.UsageInterval)
	v.log(c.Log)
	if len(c.Parents) == 0 {
		v.add("parents: name the address of the root, host:port (flag --join)")
	}
	for _, p := range c.Parents {
		v.addr("parents", p)
	}
	return v.err()
}

// Logger returns the logger that is asked for.
func (l Log) Logger() *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.Level)) // Validate has seen it
	o := &slog.HandlerOptions{Level: level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}

type problems []error

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Errorf(format, args...)) }

func (p problems) err() error { return errors.Join(p...) }

func (p *problems) name(name string) {
	if name == "" || len(name) > 63 {
		p.add("name: %q: want 1 to 63 characters", name)
	}
}

func (p *problems) dir(dir string) {
	if !filepath.IsAbs(dir) {
		p.add("data_dir: %q: want an absolute path", dir)
	}
}

func (p *problems) addr(field, addr string) {
	if _, port, err := net.SplitHostPort(addr); err != nil || port == "" {
		p.add("%s: %q: want host:port, or :port for all addresses", field, addr)
	}
}

func (p *problems) interval(d time.Duration) {
	if d < time.Second || d > time.Hour {
		p.add("usage_interval: %s: want 1s to 1h", d)
	}
}

func (p *problems) log(l Log) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		p.add("log.level: %q: want debug, info, warn or error", l.Level)
	}
	if l.Format != "text" && l.Format != "json" {
		p.add("log.format: %q: want text or json", l.Format)
	}
}
