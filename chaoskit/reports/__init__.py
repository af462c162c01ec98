"""What people and machines read afterwards: terminal, HTML, JUnit, JSON. Pure functions of plan, history and verdict; nothing here judges."""
