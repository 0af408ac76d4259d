// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.commands

import io.sparkmodel.access.Access
import io.sparkmodel.call.{ModelAnalysisException, ModelFunction}
import io.sparkmodel.control.{ControlClient, Makers}
import io.sparkmodel.models.{Deployed, LocalFunction, LocalModels, Users}
import io.sparkmodel.parse.DropModel
import io.sparkmodel.wire.ModelException
import org.apache.spark.sql.{Row, SparkSession}
import org.apache.spark.sql.sparkmodel.SqlInternals

case class DropModelCommand(statement: DropModel) extends ModelCommand {
  import statement.name

  override protected def authorize(): Unit = Access.checkDdl("drop", name)

  override protected def perform(session: SparkSession): Seq[Row] = {
    val others = if (statement.force) 0 else Users.others(session, name)
    def isThere = LocalModels.find(name).isDefined || Deployed.find(session, name, isCertain = true).isDefined
    if (others > 0 && isThere) throw ModelAnalysisException(
      "MODEL_IN_USE", s"Cannot drop model '$name'",
      s"$others other session${if (others > 1) "s have" else " has"} called it within ten minutes",
      s"write DROP MODEL $name FORCE")
    val wasLocal = dropLocal(session)
    if (!wasLocal)
      try {
        val pool = SqlInternals.function(session, name) match {
          case Some(function: ModelFunction) => function.handle.name // registered under another name
          case _ => name
        }
        checkVisible(session, pool)
        ask("drop", "drop", pool, ControlClient.body.put("force", statement.force))
        SqlInternals.function(session, name).foreach(_ => SqlInternals.dropFunction(session, name))
      } catch { case error: ModelAnalysisException if error.getCondition == "MODEL_NOT_FOUND" && statement.ifExists => }
    Makers.forget(name)
    Users.forget(name)
    Nil
  }

  /** One that is still loading has no card yet; who forces it ends what loads. */
  private def checkVisible(session: SparkSession, pool: String): Unit =
    try visible(session, "card", "drop", pool)
    catch {
      case error: ModelException if error.condition == "POOL_NOT_READY" => if (!statement.force)
        throw ModelAnalysisException(
          error.condition, s"Cannot drop model '$name'", "it is still loading", s"wait for it, or write DROP MODEL $name FORCE")
    }

  private def dropLocal(session: SparkSession): Boolean = SqlInternals.function(session, name) match {
    case Some(_: LocalFunction) => SqlInternals.dropFunction(session, name); true
    case Some(_: ModelFunction) => false
    case Some(_) => throw notFound("drop", name)
    case None => LocalModels.remove(name)
  }
}
