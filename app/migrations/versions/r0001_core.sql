-- Facts only: no status column anywhere, the state of a tender is derived from what was recorded.
-- Amounts are integer won. request_key is the Idempotency-Key of the request that wrote the row.

CREATE TABLE procurement.party (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind            text NOT NULL CHECK (kind IN ('operator', 'institution', 'company')),
    name            text NOT NULL CHECK (name <> ''),
    business_number text CONSTRAINT party_business_number_once UNIQUE,
    key_hash        bytea NOT NULL CONSTRAINT party_key_once UNIQUE CHECK (length(key_hash) = 32),
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    request_key     text NOT NULL
);

CREATE TABLE procurement.idempotency (
    party_id     bigint NOT NULL REFERENCES procurement.party,
    request_key  text NOT NULL,
    method       text NOT NULL,
    path         text NOT NULL,
    request_hash bytea NOT NULL,
    status       integer NOT NULL,
    response     jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (party_id, request_key)
);

CREATE TABLE procurement.tender (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    institution_id bigint NOT NULL REFERENCES procurement.party,
    number         text NOT NULL,
    title          text NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('construction', 'goods', 'services')),
    base_amount    bigint NOT NULL CHECK (base_amount > 0),
    range_percent  numeric NOT NULL CHECK (range_percent > 0 AND range_percent < 100),
    rate_percent   numeric NOT NULL CHECK (rate_percent > 0 AND rate_percent <= 100),
    band           text NOT NULL,
    a_value        bigint NOT NULL DEFAULT 0 CHECK (a_value >= 0),
    net_cost       bigint CHECK (net_cost > 0),
    rehearsal      boolean NOT NULL,
    noticed_at     timestamptz NOT NULL,
    deadline       timestamptz NOT NULL,
    opening_at     timestamptz NOT NULL,
    chain_start    text NOT NULL,
    request_key    text NOT NULL,
    CHECK (noticed_at < deadline AND deadline <= opening_at)
);
CREATE UNIQUE INDEX tender_number_once ON procurement.tender (institution_id, number) WHERE NOT rehearsal;

CREATE TABLE procurement.preliminary_price (
    tender_id   bigint NOT NULL REFERENCES procurement.tender,
    number      integer NOT NULL CHECK (number BETWEEN 1 AND 15),
    price       bigint NOT NULL CHECK (price > 0),
    request_key text NOT NULL,
    PRIMARY KEY (tender_id, number)
);

CREATE TABLE procurement.bid (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tender_id      bigint NOT NULL REFERENCES procurement.tender,
    company_id     bigint NOT NULL REFERENCES procurement.party,
    sequence       integer NOT NULL CHECK (sequence > 0),
    amount         bigint NOT NULL CHECK (amount > 0),
    pick_a         integer NOT NULL CHECK (pick_a BETWEEN 1 AND 15),
    pick_b         integer NOT NULL CHECK (pick_b BETWEEN 1 AND 15),
    receipt_number text NOT NULL UNIQUE,
    received_at    timestamptz NOT NULL,
    nonce          text NOT NULL,
    previous_hash  text NOT NULL,
    receipt_hash   text NOT NULL,
    request_key    text NOT NULL,
    CHECK (pick_a <> pick_b),
    CONSTRAINT bid_one_per_company UNIQUE (tender_id, company_id),
    CONSTRAINT bid_chain UNIQUE (tender_id, sequence),
    CONSTRAINT bid_chain_link UNIQUE (tender_id, previous_hash)
);

CREATE TABLE procurement.opening (
    tender_id        bigint CONSTRAINT opening_once PRIMARY KEY REFERENCES procurement.tender,
    opened_by        bigint NOT NULL REFERENCES procurement.party,
    opened_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    bids_count       integer NOT NULL,
    draw_counts      integer[] NOT NULL CHECK (cardinality(draw_counts) = 15),
    drawn_numbers    integer[] NOT NULL,
    scheduled_price  bigint,
    floor_price      bigint,
    net_cost_minimum bigint,
    ranking          jsonb NOT NULL,
    outcome          text NOT NULL CHECK (outcome IN ('first_ranked', 'failed')),
    request_key      text NOT NULL
);

CREATE TABLE procurement.award (
    tender_id   bigint CONSTRAINT award_once PRIMARY KEY REFERENCES procurement.opening,
    bid_id      bigint NOT NULL UNIQUE REFERENCES procurement.bid,
    company_id  bigint NOT NULL REFERENCES procurement.party,
    amount      bigint NOT NULL,
    decided_by  text NOT NULL CHECK (decided_by IN ('lowest_bid', 'performance_score', 'lot')),
    lot         jsonb,
    awarded_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    request_key text NOT NULL
);

CREATE TABLE procurement.contract (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tender_id      bigint NOT NULL CONSTRAINT contract_once UNIQUE REFERENCES procurement.award,
    institution_id bigint NOT NULL REFERENCES procurement.party,
    company_id     bigint NOT NULL REFERENCES procurement.party,
    amount         bigint NOT NULL CHECK (amount > 0),
    sent_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    request_key    text NOT NULL
);

CREATE TABLE procurement.contract_consent (
    contract_id  bigint CONSTRAINT consent_once PRIMARY KEY REFERENCES procurement.contract,
    consented_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    request_key  text NOT NULL
);

CREATE TABLE procurement.contract_confirmation (
    contract_id  bigint CONSTRAINT confirmation_once PRIMARY KEY REFERENCES procurement.contract_consent,
    confirmed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    request_key  text NOT NULL
);

CREATE TABLE procurement.subcontract (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    contract_id      bigint NOT NULL REFERENCES procurement.contract_confirmation,
    subcontractor_id bigint NOT NULL REFERENCES procurement.party,
    amount           bigint NOT NULL CHECK (amount > 0),
    agreed_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    request_key      text NOT NULL
);

CREATE TABLE procurement.completion (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    contract_id  bigint NOT NULL REFERENCES procurement.contract_confirmation,
    completed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    inspect_by   date NOT NULL,
    request_key  text NOT NULL
);

CREATE TABLE procurement.inspection (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    completion_id bigint NOT NULL CONSTRAINT inspection_once UNIQUE REFERENCES procurement.completion,
    contract_id   bigint NOT NULL REFERENCES procurement.contract,
    passed        boolean NOT NULL,
    inspected_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    late_days     integer NOT NULL CHECK (late_days >= 0),
    request_key   text NOT NULL
);

CREATE TABLE procurement.claim (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    contract_id bigint NOT NULL REFERENCES procurement.contract,
    amount      bigint NOT NULL CHECK (amount > 0),
    claimed_at  timestamptz NOT NULL,
    due_on      date NOT NULL,
    request_key text NOT NULL
);

CREATE TABLE procurement.payment (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    claim_id    bigint NOT NULL CONSTRAINT payment_once UNIQUE REFERENCES procurement.claim,
    amount      bigint NOT NULL CHECK (amount > 0),
    paid_at     timestamptz NOT NULL,
    due_on      date NOT NULL,
    late_days   integer NOT NULL CHECK (late_days >= 0),
    request_key text NOT NULL
);

CREATE TABLE procurement.subcontract_payment (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payment_id     bigint NOT NULL REFERENCES procurement.payment,
    subcontract_id bigint NOT NULL REFERENCES procurement.subcontract,
    amount         bigint NOT NULL CHECK (amount > 0),
    paid_at        timestamptz NOT NULL,
    due_on         date NOT NULL,
    late_days      integer NOT NULL CHECK (late_days >= 0),
    request_key    text NOT NULL,
    CONSTRAINT subcontract_payment_once UNIQUE (payment_id, subcontract_id)
);

CREATE TABLE procurement.canary (
    stream      text NOT NULL,
    sequence    bigint NOT NULL,
    written_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    request_key text NOT NULL,
    PRIMARY KEY (stream, sequence)
);

CREATE INDEX ON procurement.tender (deadline DESC);
CREATE INDEX ON procurement.contract (institution_id);
CREATE INDEX ON procurement.contract (company_id);
CREATE INDEX ON procurement.subcontract (contract_id);
CREATE INDEX ON procurement.subcontract (subcontractor_id);
CREATE INDEX ON procurement.completion (contract_id);
CREATE INDEX ON procurement.inspection (contract_id);
CREATE INDEX ON procurement.claim (contract_id);
CREATE INDEX ON procurement.subcontract_payment (subcontract_id);

-- An acknowledged fact cannot be changed or vanish: not even the owner changes one without first taking
-- the trigger away, which shows.
CREATE FUNCTION procurement.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'procurement.% is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['party', 'idempotency', 'tender', 'preliminary_price', 'bid', 'opening',
        'award', 'contract', 'contract_consent', 'contract_confirmation', 'subcontract', 'completion',
        'inspection', 'claim', 'payment', 'subcontract_payment', 'canary']
    LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON procurement.%I
            FOR EACH ROW EXECUTE FUNCTION procurement.refuse_change()', name);
        EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON procurement.%I
            FOR EACH STATEMENT EXECUTE FUNCTION procurement.refuse_change()', name);
    END LOOP;
END $$;

-- The same fact is asserted where it is written: no bid after its deadline or after the opening.
CREATE FUNCTION procurement.bid_in_time() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.received_at >= (SELECT deadline FROM procurement.tender WHERE id = NEW.tender_id) THEN
        RAISE EXCEPTION 'the deadline has passed' USING ERRCODE = 'check_violation',
            CONSTRAINT = 'bid_in_time';
    END IF;
    IF EXISTS (SELECT FROM procurement.opening WHERE tender_id = NEW.tender_id) THEN
        RAISE EXCEPTION 'the tender is opened' USING ERRCODE = 'check_violation',
            CONSTRAINT = 'bid_in_time';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER bid_in_time BEFORE INSERT ON procurement.bid
    FOR EACH ROW EXECUTE FUNCTION procurement.bid_in_time();
