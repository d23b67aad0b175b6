package api

// Lists are objects, so that fields can be added beside the items.
type (
	// JobList is a list of jobs.
	JobList struct {
		Jobs []Job `json:"jobs" nullable:"false"`
	}
	// ClusterList is a list of clusters.
	ClusterList struct {
		Clusters []Cluster `json:"clusters" nullable:"false"`
	}
	// NodeList is a list of nodes.
	NodeList struct {
		Nodes []Node `json:"nodes" nullable:"false"`
	}
	// APITokenList is a list of API tokens.
	APITokenList struct {
		Tokens []APIToken `json:"tokens" nullable:"false"`
	}
	// JoinTokenList is a list of join tokens.
	JoinTokenList struct {
		Tokens []JoinToken `json:"tokens" nullable:"false"`
	}
)
