-- Waits for the pushes that add to it.
SELECT 1 FROM queues WHERE name = %(name)s FOR UPDATE
