package docker

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"
)

// Config says which daemon to use and how. The zero value of each field but
// AgentID is a sensible default.
type Config struct {
	// Name is the runtime's name in job files: "docker" (default) or "podman"
	// for Podman's socket, which speaks the same API.
	Name string
	// Host is the daemon's address: unix:///path, tcp://host:port. Default:
	// $DOCKER_HOST, else the runtime's usual socket.
	Host string
	// AgentID marks the containers of this agent; those of another agent on
	// the same daemon are never touched. Required; [A-Za-z0-9._-]{1,128}.
	AgentID string

	// Registries has credentials by registry host as in an image reference
	// ("ghcr.io", "10.0.0.1:5000"; Docker Hub is "docker.io").
	Registries map[string]Credentials
	// AuthFile is a Docker client configuration whose "auths" are used for
	// registries not named in Registries. Default: config.json in
	// $DOCKER_CONFIG or ~/.docker. Credential helpers are not run.
	AuthFile string

	// LogMaxSize is how large a log file of a container grows before it is
	// rotated, in bytes; LogMaxFiles how many are kept. Default: 10 MiB, 3.
	LogMaxSize  int64
	LogMaxFiles int

	// QueryTimeout bounds calls that only look; ChangeTimeout those that
	// create, start, stop or remove. Default: 30 s, 2 min.
	QueryTimeout  time.Duration
	ChangeTimeout time.Duration
	// PullIdleTimeout gives up a pull that shows no progress. Default: 5 min.
	PullIdleTimeout time.Duration
	// ProbeTimeout is what Probe gives the daemon to answer. Default: 2 s.
	ProbeTimeout time.Duration

	// ProcRoot is where /proc is. Default: /proc.
	ProcRoot string
}

// Credentials are for one registry: user and password, or a token that the
// registry's login handed out.
type Credentials struct {
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	IdentityToken string `json:"identity_token,omitempty"`
}

// String keeps secrets out of logs.
func (c Credentials) String() string { return c.Username + ":***" }

var agentIDForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// withDefaults returns the configuration with its gaps filled, or what is wrong with it.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.Name, "docker")
	setDefault(&c.Host, os.Getenv("DOCKER_HOST"))
	switch c.Name {
	case "docker":
		setDefault(&c.Host, "unix:///var/run/docker.sock")
	case "podman":
		setDefault(&c.Host, "unix:///run/podman/podman.sock")
	default:
		return c, fmt.Errorf(`docker driver: name %q: want "docker" or "podman"`, c.Name)
	}
	u, err := url.Parse(c.Host)
	if err != nil {
		return c, fmt.Errorf("docker driver: host %q: %w", c.Host, err)
	}
	if u.Scheme != "unix" && u.Scheme != "tcp" || u.Host+u.Path == "" {
		return c, fmt.Errorf("docker driver: host %q: want unix:///path/to/socket or tcp://host:port", c.Host)
	}
	if !agentIDForm.MatchString(c.AgentID) {
		return c, fmt.Errorf("docker driver: agent id %q: want %s", c.AgentID, agentIDForm)
	}
	setDefault(&c.LogMaxSize, 10<<20)
	setDefault(&c.LogMaxFiles, 3)
	setDefault(&c.QueryTimeout, 30*time.Second)
	setDefault(&c.ChangeTimeout, 2*time.Minute)
	setDefault(&c.PullIdleTimeout, 5*time.Minute)
	setDefault(&c.ProbeTimeout, 2*time.Second)
	setDefault(&c.ProcRoot, "/proc")
	setDefault(&c.AuthFile, defaultAuthFile())
	return c, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// socketPath returns the path of the daemon's socket, or "" if it is reached over TCP.
func (c Config) socketPath() string {
	path, isUnix := strings.CutPrefix(c.Host, "unix://")
	if !isUnix {
		return ""
	}
	return path
}
