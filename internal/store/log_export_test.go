package store

// A LogStatement is one that reads the log, with the types of its parameters, arguments that fit, and how many days
// of messages these may touch.
type LogStatement struct {
	SQL, Types, Args string
	Days             int
}

// LogStatements are all of them, by name.
func LogStatements() map[string]LogStatement {
	return map[string]LogStatement{
		"tails": {
			readTailsSQL, "uuid[], bigint[], timestamptz[], date[], timestamptz, int, int",
			"ARRAY[$tenant, gen_random_uuid()], ARRAY[$head - 10, 0], ARRAY[date_trunc('day', now()), now()], ARRAY['-infinity'::date, '-infinity'], now() + interval '1 day', 500, 1000000", 2,
		},
		"replay of all": {replayAllSQL, "uuid, bigint, date, timestamptz, int, int", "$tenant, $head - 1500, '-infinity', now() + interval '1 day', 500, 1000000", 3},
		"replay of channels": {
			replayChannelsSQL, "uuid, bigint, date, timestamptz, int, int, text[]",
			"$tenant, $head - 1500, '-infinity', now() + interval '1 day', 500, 1000000, ARRAY['c:1', 'c:2']", 3,
		},
		"replay of prefixes": {
			replayMatchingSQL, "uuid, bigint, date, timestamptz, int, int, text[], text[], int",
			"$tenant, $head - 1500, '-infinity', now() + interval '1 day', 500, 1000000, ARRAY['c:1'], ARRAY['d:'], 10000", 3,
		},
		"place":           {logPlaceSQL, "uuid, date", "$tenant, '-infinity'", 0},
		"heads":           {logHeadsSQL, "uuid[]", "ARRAY[$tenant, gen_random_uuid()]", 0},
		"position before": {positionBeforeSQL, "uuid, timestamptz, bigint", "$tenant, now() - interval '10 days', $head", 2},
		"last positions":  {lastPositionsSQL, "uuid, text[], bigint, bigint, timestamptz, int", "$tenant, ARRAY['c:1', 'c:2'], $head - 1500, $head, now() + interval '1 day', 100", 3},
		"last matching":   {lastMatchingSQL, "uuid, text[], bigint, bigint, timestamptz, int, text[]", "$tenant, ARRAY['c:1'], $head - 1500, $head, now() + interval '1 day', 100, ARRAY['d:']", 3},
		"channels with":   {channelsWithSQL, "uuid, text, bigint, text, timestamptz, int", "$tenant, 'c:', $head - 1500, 'd', now() + interval '1 day', 100", 3},
	}
}

// PipelineSettings are those of the pipeline's connections.
func PipelineSettings() map[string]string { return pipelineSettings(RolesOf("")) }
