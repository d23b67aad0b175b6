package api

import "time"

// RoleAdmin may do everything.
const RoleAdmin = "admin"

// APIToken is what the API tells of a token of its users; never the secret.
type APIToken struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Role      string    `json:"role" enum:"admin"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero" doc:"Missing: never"`
}

// NewAPIToken asks for a token for a user of the API.
type NewAPIToken struct {
	Name string `json:"name" minLength:"1" maxLength:"64" doc:"Who or what will use it"`
	Role string `json:"role,omitempty" enum:"admin" doc:"Missing: admin"`
	// TTLSeconds is how long it is good; 0 is for ever.
	TTLSeconds int64 `json:"ttl_seconds,omitempty" minimum:"0" maximum:"3153600000" doc:"How long it is good; 0 or missing: for ever"`
}

// CreatedAPIToken has the secret, which is shown this once.
type CreatedAPIToken struct {
	APIToken
	Token string `json:"token" doc:"The secret; it cannot be shown again"`
}

// The kinds of join tokens.
const (
	JoinCluster = "cluster"
	JoinNode    = "node"
)

// JoinToken is what the API tells of a token with which a cluster or a node
// joins; never the secret.
type JoinToken struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind" enum:"cluster,node" doc:"What may join with it"`
	Cluster   string    `json:"cluster,omitempty" doc:"The cluster that nodes join with it; missing: any, or the root itself"`
	Uses      int       `json:"uses" doc:"How often it may be used; 0: any number of times"`
	Used      int       `json:"used"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// NewJoinToken asks for a join token.
type NewJoinToken struct {
	Kind    string `json:"kind" enum:"cluster,node" doc:"What may join with it"`
	Cluster string `json:"cluster,omitempty" maxLength:"64" doc:"Only for nodes: id or name of the cluster that they join"`
	// TTLSeconds is how long it is good. The backend is always given a value.
	TTLSeconds int64 `json:"ttl_seconds,omitempty" minimum:"1" maximum:"31536000" doc:"How long it is good; missing: an hour"`
	// Uses is how often it may be used; 0 is any number of times. The backend is always given a value.
	Uses *int `json:"uses,omitempty" minimum:"0" doc:"How often it may be used; 0: any number of times; missing: once"`
}

// CreatedJoinToken has the secret, which is shown this once.
type CreatedJoinToken struct {
	JoinToken
	Token     string   `json:"token" doc:"The secret, which also pins the authority; it cannot be shown again"`
	Addresses []string `json:"addresses,omitempty" doc:"Where to join, host:port"`
}
