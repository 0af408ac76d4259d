// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.commands

import com.fasterxml.jackson.databind.JsonNode
import com.fasterxml.jackson.databind.node.ObjectNode
import io.sparkmodel.access.Access
import io.sparkmodel.call.{ModelAnalysisException, ModelFunction}
import io.sparkmodel.control.{Control, ControlClient, Json}
import io.sparkmodel.models.{Card, Deployed, LocalFunction, LocalModels, Users}
import io.sparkmodel.parse.CreateModel
import io.sparkmodel.sparkml.SparkMl
import io.sparkmodel.wire.ModelException
import org.apache.spark.sql.{Row, SparkSession}
import org.apache.spark.sql.sparkmodel.SqlInternals

case class CreateModelCommand(statement: CreateModel) extends ModelCommand {
  import statement.name

  private def isLocal = statement.using.contains("sparkml")

  override protected def authorize(): Unit = {
    Access.checkDdl("create", name)
    statement.code.foreach(_ => Access.checkInlineCode(name))
    statement.location.foreach(Access.checkLocation("create", name, statement.using, _))
    Access.checkOptions("create", name, statement.options.map(_._1))
  }

  override protected def checkOptions(): Unit =
    if (isLocal) SparkMl.settings(name, localOptions)
    else if (statement.options.nonEmpty) {
      val body = ControlClient.body
      statement.output.foreach(body.put("output", _))
      Control.call("check", body.set[ObjectNode]("options", Json.of(statement.options.toMap)))
    }

  override protected def perform(session: SparkSession): Seq[Row] = {
    if (!(statement.ifNotExists && exists(session))) {
      checkFree(session)
      if (isLocal) createLocal(session) else create(session)
    }
    Nil
  }

  private def exists(session: SparkSession): Boolean =
    LocalModels.find(name).isDefined || ifLoaded(Deployed.find(session, name, isCertain = true)).isDefined ||
      SqlInternals.function(session, name).exists(f => f.isInstanceOf[ModelFunction] || f.isInstanceOf[LocalFunction])

  private def checkFree(session: SparkSession): Unit = {
    def taken(fact: String, hint: String) =
      throw ModelAnalysisException("NAME_TAKEN", s"Cannot create model '$name'", fact, hint)
    SqlInternals.function(session, name) match {
      case Some(_: ModelFunction) | Some(_: LocalFunction) =>
        if (!statement.replace) taken("there is one of that name", "write CREATE OR REPLACE MODEL, or drop it first")
      case Some(_) => taken("this session has a SQL function of that name", "take another name")
      case None =>
        if (LocalModels.find(name).isDefined && !statement.replace)
          taken("there is one of that name", "write CREATE OR REPLACE MODEL, or drop it first")
        if (SqlInternals.hasPersistentFunction(session, name))
          taken("the current database has a SQL function of that name", "take another name")
        others(session).foreach { card =>
          if (!Deployed.isVisible(session, card))
            taken("another session has a temporary model of that name", "take another name")
          else if (statement.temporary && statement.replace)
            taken("all sessions have a model of that name", "take another name, or write CREATE OR REPLACE MODEL")
        }
    }
  }

  /** The model of that name that is no function of this session. */
  private def others(session: SparkSession): Option[JsonNode] =
    if (Deployed.isIdle) None
    else
      try ifLoaded(Some(ask("card", "create", name)))
      catch { case error: ModelAnalysisException if error.getCondition == "MODEL_NOT_FOUND" => None }

  /** One that another session is just making is none yet: the control service waits until it is there, or has failed. */
  private def ifLoaded[A](found: => Option[A]): Option[A] =
    try found
    catch {
      case error: ModelException if error.condition == "POOL_NOT_READY" => None
      case error: ModelAnalysisException if error.getCondition == "POOL_NOT_READY" => None
    }

  private def create(session: SparkSession): Unit = {
    val request = ControlClient.body
      .put("name", name)
      .put("replace", statement.replace)
      .put("if_not_exists", statement.ifNotExists)
      .put("time_zone", SqlInternals.timeZone(session))
    def set(key: String, value: Option[String]): Unit = value.foreach(request.put(key, _))
    set("using", statement.using)
    set("location", statement.location)
    set("code", statement.code)
    set("inputs", statement.inputs)
    set("output", statement.output)
    set("comment", statement.comment)
    request.set[ObjectNode]("options", Json.of(statement.options.toMap))
    val kept = StatementText.toJson(statement)
    if (statement.temporary) kept.put("session", SqlInternals.id(session))
    request.set[ObjectNode]("statement", kept)
    val card = new Card(Remake(session, request).send(Control.call(_, _)))
    LocalModels.remove(name)
    if (statement.temporary) SqlInternals.setFunction(session, name, card.function)
    else if (SqlInternals.function(session, name).isDefined) SqlInternals.setFunction(session, name, card.function)
    Remake(session, request).keep()
    if (!statement.replace) Users.forget(name) // of one that ended without a statement
    Users.note(session, name)
  }

  private def localOptions: Map[String, String] =
    statement.options.map { case (key, value) => key -> value.toString }.toMap ++ statement.inputs.map("input" -> _)

  private def createLocal(session: SparkSession): Unit = {
    val model = SparkMl.load(session, name, statement.location.get, localOptions)
    val function = new LocalFunction(statement, model)
    if (statement.temporary) SqlInternals.setFunction(session, name, function)
    else {
      SqlInternals.function(session, name).foreach(_ => SqlInternals.dropFunction(session, name))
      LocalModels.put(function)
    }
  }
}
