"""PostgreSQL flexible servers and who uses them, as Azure tells it: clients, the plan of a restore, its bill.

What is asked of the databases themselves, by SQL, belongs to `rollback/postgres/`.
"""
