package api

import (
	"encoding/json"
	"time"
)

// Resources are amounts; zero is none.
type Resources struct {
	CPUMillis   int64 `json:"cpu_millis" doc:"Thousandths of a core"`
	MemoryBytes int64 `json:"memory_bytes"`
	DiskBytes   int64 `json:"disk_bytes"`
}

// Cluster is a cluster orchestrator and what is below it. Nodes that are
// attached to the root itself are in no cluster.
type Cluster struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Location   string    `json:"location,omitempty"`
	Ready      bool      `json:"ready" doc:"Connected, and takes jobs"`
	Version    string    `json:"version,omitempty"`
	Address    string    `json:"address,omitempty" doc:"Where it connects from"`
	Nodes      int       `json:"nodes" doc:"Worker nodes that are ready"`
	Instances  int       `json:"instances" doc:"Instances that run there"`
	Capacity   Resources `json:"capacity"`
	Free       Resources `json:"free" doc:"Sum over its nodes, less what is reserved"`
	LastSeen   time.Time `json:"last_seen,omitzero"`
	AgeSeconds float64   `json:"age_seconds" doc:"Age of these numbers"`
}

// Node is a worker node.
type Node struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Cluster   Ref               `json:"cluster,omitzero" doc:"Empty: attached to the root itself"`
	Ready     bool              `json:"ready" doc:"Connected, and takes jobs"`
	Version   string            `json:"version,omitempty"`
	Arch      string            `json:"arch,omitempty"`
	Address   string            `json:"address,omitempty" doc:"Where it connects from"`
	Runtimes  []Runtime         `json:"runtimes" nullable:"false"`
	Labels    map[string]string `json:"labels,omitempty" doc:"Configured, and derived from what the node is"`
	Taints    []Taint           `json:"taints,omitempty" doc:"Keep jobs away that do not tolerate them"`
	Devices   []Devices         `json:"devices,omitempty" doc:"Free devices, alike ones together"`
	Instances int               `json:"instances" doc:"Instances that run there"`
	Capacity  Resources         `json:"capacity"`
	Free      Resources         `json:"free" doc:"Capacity, less what is reserved"`
	Usage     *Usage            `json:"usage,omitempty"`
	LastSeen  time.Time         `json:"last_seen,omitzero"`
	Report    json.RawMessage   `json:"report,omitempty" doc:"What the node is, as edgeagent capabilities prints it; only when one node is asked for"`
}

// Taint keeps jobs away from a node that do not tolerate it.
type Taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect" enum:"no_schedule,prefer_no_schedule"`
}

// Devices are free devices of a node that are alike.
type Devices struct {
	Kind        string   `json:"kind"`
	Vendor      string   `json:"vendor,omitempty"`
	Model       string   `json:"model,omitempty"`
	MemoryBytes int64    `json:"memory_bytes,omitempty" doc:"Of each, of its own"`
	Count       int      `json:"count"`
	Shared      bool     `json:"shared,omitempty" doc:"Any number of jobs may have them at a time"`
	Names       []string `json:"names,omitempty" doc:"Ids and paths, as a job asks for them"`
}

// Runtime is one way to run workloads that a node has.
type Runtime struct {
	Name     string   `json:"name"`
	Usable   bool     `json:"usable"`
	Version  string   `json:"version,omitempty"`
	Endpoint string   `json:"endpoint,omitempty"`
	Features []string `json:"features,omitempty"`
	Reason   string   `json:"reason,omitempty" doc:"Why it is not usable"`
	Remedy   string   `json:"remedy,omitempty" doc:"What to do about it"`
}

// Usage is what is in use on a node, by all its processes.
type Usage struct {
	CPUMillis   int64   `json:"cpu_millis"`
	MemoryBytes int64   `json:"memory_bytes"`
	DiskBytes   int64   `json:"disk_bytes"`
	AgeSeconds  float64 `json:"age_seconds" doc:"Age of the sample"`
}
